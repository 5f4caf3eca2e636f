"""The schema of the log: its first form, the steps since, and what is derived from its rows."""
