"""What a person thinks of replies: ratings, decisions, tags, corrections, votes, and which replies to judge next."""
