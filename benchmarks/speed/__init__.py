"""The contenders of `distillation_speed.py`, each a worker that trains for some steps and prints its rate."""
