"""What the Prompts screen shows, made ready."""
