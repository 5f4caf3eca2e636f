"""The screen of one training: its course, its proof, its adapter."""
