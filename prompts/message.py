"""A message of a conversation."""

from dataclasses import dataclass
from typing import Literal, get_args

Role = Literal["system", "user", "assistant"]
ROLES: tuple[str, ...] = get_args(Role)


@dataclass(frozen=True, slots=True)
class Message:
    """A message. `content` is plain text: it can't contain control tokens."""

    role: Role
    content: str
