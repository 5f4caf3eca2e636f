"""Which models there are, where their files are, and a model on this machine."""
