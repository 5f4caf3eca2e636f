"""The proof: base and adapter on what neither has learned from, and whether the adapter may be used."""
