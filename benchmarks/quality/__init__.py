"""The parts of `search_quality.py`: shapes made by hand, one student of each kind, what the page says."""
