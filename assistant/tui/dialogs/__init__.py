"""Dialogs that several screens use: pick, ask, fill in a form."""
