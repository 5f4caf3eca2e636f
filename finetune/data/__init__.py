"""Datasets: what of the log is learned, split by conversation, as rows of tokens with the loss mask, in blocks."""
