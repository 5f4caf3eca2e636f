"""Runs a model: tokens in, tokens out. Knows no database and no screen; this file imports no torch."""
