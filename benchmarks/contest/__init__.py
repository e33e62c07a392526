"""The parts of `export_latency.py`: who takes part, what cannot be beaten, the timing, and what comes out of it."""
