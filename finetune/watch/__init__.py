"""Watch the log: new conversations, drift, and training while the machine is idle."""
