"""A template's task for every row of a file."""
