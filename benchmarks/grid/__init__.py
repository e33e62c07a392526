"""The parts of `distillation_grid.py`: what is compared, how one student is taught, what the page says."""
