"""Training again: going on from an adapter, with a replay of what it learned, and asking that again."""
