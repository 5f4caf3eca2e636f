"""The OpenAI HTTP API, answered by one engine process."""
