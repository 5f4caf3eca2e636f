"""The conversations whose keys and values are kept: a prompt goes on from the one that begins most like it."""

from collections.abc import Callable, Sequence
from itertools import takewhile

from assistant.engine.networks.network import Conversation, KVCache

LEAST_ROOM_TOKENS = 256
WORTH_COPYING_TOKENS = 16
"""A shorter common beginning is computed anew rather than copied."""


class Conversations:
    """Least recently used ones are forgotten when all together use more than `limit_bytes`."""

    def __init__(self, empty: Callable[[str], KVCache], limit_bytes: int) -> None:
        """`empty` makes the cache of a conversation with the adapter of that hash."""
        self._empty = empty
        self._limit_bytes = limit_bytes
        self._held: list[Conversation] = []  # least recently used first

    def take(self, prompt: Sequence[int], adapter: str = "") -> tuple[Conversation, int]:
        """A conversation to go on with, marked busy, and how many tokens of `prompt` it holds.

        The last token is never among them: its logits are the first to be sampled from. One that would lose more
        than it gives, or is busy, keeps what it has and its beginning is copied.
        """
        alike = [one for one in self._held if one.adapter == adapter]
        best = max(alike, key=lambda one: (common_prefix(one.ids, prompt), not one.busy), default=None)
        shared = min(common_prefix(best.ids, prompt), len(prompt) - 1) if best else 0
        chosen = self._going_on(best, shared) if best and shared else None
        if chosen is None:
            chosen = Conversation(self._empty(adapter), adapter)
        chosen.busy = True
        self._held = [one for one in self._held if one is not chosen] + [chosen]
        return chosen, len(chosen.ids)

    def give_back(self, conversation: Conversation) -> None:
        """What `take` gave is not at work any more. What is over the limit goes, but never the last one used."""
        conversation.busy = False
        idle = [one for one in self._held[:-1] if not one.busy]
        while idle and sum(map(_bytes, self._held)) > self._limit_bytes:
            self.forget(idle.pop(0))

    def forget(self, conversation: Conversation) -> None:
        """Hold it no longer, as after a forward pass that failed."""
        self._held = [one for one in self._held if one is not conversation]

    def clear(self) -> None:
        """Forget everything."""
        self._held.clear()

    def _going_on(self, best: Conversation, shared: int) -> Conversation | None:
        lost = len(best.ids) - shared
        if best.busy or lost > max(shared, WORTH_COPYING_TOKENS):
            kv = best.kv.copy(shared) if shared >= WORTH_COPYING_TOKENS else None
            return Conversation(kv, best.adapter, best.ids[:shared], peak_tokens=shared) if kv else None
        if lost and not best.kv.crop(shared):
            self.forget(best)
            return None
        del best.ids[shared:]
        return best


def room(tokens: int) -> int:
    """Tokens that a cache for so many has room for: a power of two, so that one that grows is seldom copied."""
    return max(LEAST_ROOM_TOKENS, 1 << max(0, tokens - 1).bit_length())


def common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """How many ids are the same from the beginning."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False)))


def _bytes(conversation: Conversation) -> int:
    return conversation.kv.token_bytes * conversation.peak_tokens
