"""Which conversation a prompt goes on from, and what is forgotten first."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from assistant.engine.generate.cache import Conversations
from assistant.engine.networks.network import Conversation


@dataclass
class Notes:
    """A KV cache that takes a byte a token and counts what is copied."""

    length: int = 0
    crops: bool = True
    copies: bool = True
    token_bytes: int = 1

    def crop(self, length: int) -> bool:
        self.length = length
        return self.crops

    def copy(self, length: int) -> "Notes | None":
        return Notes(length) if self.copies else None


def read(held: Conversations, prompt: Sequence[int], adapter: str = "") -> tuple[Conversation, int]:
    """Take a conversation and read the prompt into it, as a reply does."""
    conversation, cached = held.take(prompt, adapter)
    assert conversation.busy
    assert conversation.ids == list(prompt[:cached])
    conversation.ids += prompt[cached:]
    conversation.peak_tokens = max(conversation.peak_tokens, len(conversation.ids))
    return conversation, cached


def turn(held: Conversations, prompt: Sequence[int], adapter: str = "") -> tuple[Conversation, int]:
    conversation, cached = read(held, prompt, adapter)
    held.give_back(conversation)
    return conversation, cached


FIRST = list(range(100))
OTHER = list(range(1000, 1100))


@pytest.mark.parametrize(
    ("prompt", "cached"),
    [
        ([*FIRST, 1, 2], 100),
        (FIRST, 99),  # the last token's logits are wanted
        ([*FIRST[:60], 7, 7, 7], 60),
        (FIRST[:60], 59),
        (OTHER, 0),
        ([5], 0),
    ],
)
def test_only_what_differs_is_computed(prompt: list[int], cached: int) -> None:
    held = Conversations(lambda _: Notes(), 10_000)
    first, _ = turn(held, FIRST)
    again, found = turn(held, prompt)
    assert found == cached
    assert (again is first) == (cached > 0)


def test_several_conversations_are_kept() -> None:
    held = Conversations(lambda _: Notes(), 10_000)
    for _ in range(2):
        found = [turn(held, prompt)[1] for prompt in (FIRST, OTHER)]
    assert found == [99, 99]


def test_a_branch_near_the_beginning_is_copied_and_the_long_one_stays() -> None:
    held = Conversations(lambda _: Notes(), 10_000)
    long, _ = turn(held, FIRST)
    branch, cached = turn(held, [*FIRST[:20], 7, 7])
    assert (cached, branch is long) == (20, False)
    assert turn(held, [*FIRST, 1])[1] == 100
    assert turn(held, [5, *FIRST])[1] == 0


def test_one_that_is_at_work_is_left_alone() -> None:
    held = Conversations(lambda _: Notes(), 10_000)
    busy, _ = read(held, FIRST)
    other, cached = read(held, [*FIRST, 8])
    assert (other is busy, cached) == (False, 100)
    held.give_back(busy)
    assert busy.ids == FIRST


def test_the_least_recently_used_goes_first() -> None:
    held = Conversations(lambda _: Notes(), 250)
    turn(held, FIRST)
    turn(held, OTHER)
    turn(held, [*FIRST, 1])
    turn(held, list(range(5000, 5100)))
    assert turn(held, [*FIRST, 1, 2])[1] == 101
    assert turn(held, OTHER)[1] == 0


def test_the_last_one_is_kept_whatever_its_size() -> None:
    held = Conversations(lambda _: Notes(), 10)
    turn(held, FIRST)
    assert turn(held, [*FIRST, 1])[1] == 100


def test_another_adapter_s_keys_are_of_no_use() -> None:
    held = Conversations(lambda _: Notes(), 10_000)
    turn(held, FIRST)
    assert turn(held, FIRST, "adapter")[1] == 0
    assert turn(held, FIRST)[1] == 99


def test_a_state_that_cannot_be_turned_back_is_only_continued() -> None:
    held = Conversations(lambda _: Notes(crops=False, copies=False), 10_000)
    turn(held, FIRST)
    assert turn(held, [*FIRST, 1])[1] == 100
    assert turn(held, FIRST)[1] == 0


def test_what_failed_is_forgotten() -> None:
    held = Conversations(lambda _: Notes(), 10_000)
    conversation, _ = read(held, FIRST)
    held.forget(conversation)
    held.give_back(conversation)
    assert turn(held, FIRST)[1] == 0
