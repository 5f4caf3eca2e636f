"""The training: its plan, its steps, its checkpoints, and what stays of it."""
