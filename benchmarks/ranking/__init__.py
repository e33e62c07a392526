"""The parts of `proxy_correlation.py`: which students are ranked, how well proxies rank them, what the page says."""
