"""What computes: the Llama family by code of its own, other architectures by transformers, and encoders."""
