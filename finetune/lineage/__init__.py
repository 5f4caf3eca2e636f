"""Further training of an adapter: its chain of datasets, replay of what was learned, measuring it again."""
