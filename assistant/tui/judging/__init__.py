"""What the chat and the log share: rate, tag, correct, compare and teach a reply; look at its tokens."""
