"""Watching the log: what is new, whether the model does worse on it, and training when nobody uses the machine."""
