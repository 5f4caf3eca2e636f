"""A local chat assistant for the terminal that learns from its own conversations."""

__version__ = "0.1.0"
