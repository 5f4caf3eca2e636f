"""Which turns of a conversation fit the context: the oldest are left out, system message and last turn never."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from assistant.errors import ContextExceeded
from prompts.message import Message


@dataclass(frozen=True, slots=True)
class Fitted:
    """The prompt's ids, and how many messages were left out of it."""

    ids: list[int]
    dropped_messages: int


def fit(
    messages: Sequence[Message],
    encode: Callable[[Sequence[Message]], list[int]],
    context_tokens: int,
    reserve_tokens: int,
    drop_oldest: bool,
) -> Fitted:
    """The longest end of the conversation that leaves `reserve_tokens` for the reply.

    A user turn goes together with its replies, so that the prompt still begins with a user turn. The last turn alone
    may use the reserve. Raises `ContextExceeded` where that is too long too, or anything is with `drop_oldest=False`.
    """
    room = context_tokens - max(reserve_tokens, 1)
    ids = encode(messages)
    if len(ids) <= room:
        return Fitted(ids, 0)
    head = 1 if messages and messages[0].role == "system" else 0
    starts = [index for index in range(head + 1, len(messages)) if messages[index].role == "user"]
    if not drop_oldest or not starts:
        return Fitted(_unless_too_long(ids, context_tokens), 0)

    def kept(start: int) -> list[int]:
        return encode([*messages[:head], *messages[start:]])

    found = bisect_left(starts, True, key=lambda start: len(kept(start)) <= room)
    start = starts[min(found, len(starts) - 1)]
    return Fitted(_unless_too_long(kept(start), context_tokens), start - head)


def _unless_too_long(ids: list[int], context_tokens: int) -> list[int]:
    if len(ids) < context_tokens:
        return ids
    raise ContextExceeded(
        f"The prompt has {len(ids):,} tokens, but the model's context is {context_tokens:,}. "
        "Shorten the message, begin a new conversation, or choose a model with a longer context.",
        code="context_length_exceeded",
        status=400,
    )
