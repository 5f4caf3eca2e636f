"""Files that chat programs write, one module a program: how a conversation of it is recognised, and how it is read."""
