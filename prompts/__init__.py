"""What is said to a model: messages, templates and how they are rendered. Imports nothing of the other packages."""
