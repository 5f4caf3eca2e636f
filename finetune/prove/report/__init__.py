"""A training's report: Markdown, and one HTML page with plots."""
