"""The Prompts screen: templates, written, tried and tested."""
