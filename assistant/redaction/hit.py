"""One place where personal data stands."""

from dataclasses import dataclass

KINDS = ("word", "secret", "email", "iban", "card", "id", "phone", "ip", "address", "name")
"""In this order they claim their place where two would overlap. `word` is what a person gave, `id` a national number,
`secret` a key, token or password."""


@dataclass(frozen=True, slots=True)
class Hit:
    """`text` stands from `start` to before `end`. `identity` is the same for other spellings of the same value."""

    kind: str
    start: int
    end: int
    text: str
    identity: str
