"""Runtimes that exported files are proven on: each loads, runs and is timed in processes of its own."""
