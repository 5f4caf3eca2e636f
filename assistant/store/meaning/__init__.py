"""Finding exchanges by what they mean."""
