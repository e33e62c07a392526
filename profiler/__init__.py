"""Measuring a device: what to measure, the processes that measure it, and the profile that comes of it."""
