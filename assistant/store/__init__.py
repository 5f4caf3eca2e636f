"""What was said: one SQLite file. Imports no torch."""
