"""The benchmark of latency prediction in its parts: students held out, measuring, contenders, figures, the page."""
