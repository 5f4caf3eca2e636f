"""Conversations of files into the log."""
