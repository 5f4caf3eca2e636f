"""Export: merged weights, GGUF, model cards, and pruned models."""
