"""What the engine's clients and its server agree on: chunks, errors, framing, the address. Used by both sides,
and by the tests' fake engine, so that they can't drift apart. Imports no HTTP library."""
