"""Where a model runs, and the only stopwatch."""
