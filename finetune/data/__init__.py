"""Datasets: selection from the log, split by conversation, token rows with the loss mask, packed blocks."""
