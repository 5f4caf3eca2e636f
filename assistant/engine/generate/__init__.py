"""From logits to a reply: sampling, constraints, drafts, kept prompts, several requests in rounds, and scoring."""
