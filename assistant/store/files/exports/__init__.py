"""Conversations of the log into files."""
