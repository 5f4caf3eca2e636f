"""The machine: what it has, where a model fits, how fast it multiplies, its C compiler."""
