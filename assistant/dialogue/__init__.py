"""An exchange from what a person typed to a stored reply, and a stored reply made again."""
