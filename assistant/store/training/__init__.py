"""Datasets, training runs and adapters."""
