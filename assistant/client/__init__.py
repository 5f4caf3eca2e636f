"""The OpenAI API, asked: of the engine process, which is found or started, or of any other server."""

from assistant.client.client import Client
from assistant.client.http import Endpoint

__all__ = ["Client", "Endpoint"]
