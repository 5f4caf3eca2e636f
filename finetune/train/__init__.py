"""Training: setup, loop, checkpoints, and saving the adapter."""
