"""The chat: the open conversation, the list of conversations, the branches."""
