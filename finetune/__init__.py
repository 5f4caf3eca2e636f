"""Retraining on the curated log: data, training, proof, promotion and the way back."""
