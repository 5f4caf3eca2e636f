"""A run's report: Markdown, and an HTML page with plots."""
