"""The commands, one file a group. Heavy imports happen inside the command that needs them."""
