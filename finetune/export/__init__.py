"""The result for other programs: merged weights, GGUF, model card, and fewer layers."""
