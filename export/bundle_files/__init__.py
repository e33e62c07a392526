"""What a bundle carries: `run.py` as it is, the templates of its README and model card, and texts to try it on."""
