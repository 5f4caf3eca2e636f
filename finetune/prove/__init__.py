"""Proof: compare base and adapter on held-out data, and decide whether the adapter may be used."""
