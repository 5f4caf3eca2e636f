"""Prompts: messages, templates and their rendering. Imports nothing of the other packages."""
