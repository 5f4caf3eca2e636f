"""One message of a conversation, shared by every floor."""

from dataclasses import dataclass
from typing import Literal, get_args

Role = Literal["system", "user", "assistant"]
ROLES: tuple[str, ...] = get_args(Role)


@dataclass(frozen=True, slots=True)
class Message:
    """What one side said. `content` is plain text: nothing in it can become a control token."""

    role: Role
    content: str
