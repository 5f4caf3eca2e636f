"""Variables found again in the tokens of a prompt."""

from collections.abc import Mapping, Sequence

import pytest

from assistant.tui.prompts.variable_tokens import variable_tokens
from prompts.message import Message
from prompts.tracing import Span, Traced


def told(text: str, *spans: tuple[int, int, str]) -> Traced:
    return Traced(Message("user", text), tuple(Span(*span) for span in spans))


@pytest.mark.parametrize(
    ("messages", "pieces", "found"),
    [
        ([told("a cat", (2, 5, "x"))], ["<s>", "a", " c", "at", "</s>"], {"x": [" c", "at"]}),
        ([told("a鲸b", (1, 2, "x"))], ["a", "", "", "鲸", "b"], {"x": ["", "", "鲸"]}),  # bytes of one character
        ([told("ab", (1, 2, "x"))], ["ab"], {"x": ["ab"]}),
        ([told("ab", (1, 1, "x"))], ["a", "b"], {"x": []}),  # an empty value
        ([told(" a ", (0, 3, "x"))], ["<s>", "a", "</s>"], {"x": ["a"]}),  # the model's template strips turns
        ([told("a", (0, 1, "x")), told("a", (0, 1, "x"))], ["1", "a", "2", "a"], {"x": ["a"]}),
        ([told("lost", (0, 4, "x")), told("b", (0, 1, "y"))], ["b"], {"y": ["b"]}),
        ([], ["a"], {}),
    ],
)
def test_places(messages: list[Traced], pieces: list[str], found: Mapping[str, Sequence[str]]) -> None:
    assert {name: list(some) for name, some in variable_tokens(messages, pieces).items()} == found


def test_the_last_place_counts() -> None:
    messages = [told("cat", (0, 3, "x")), told("dog", (0, 3, "x"))]
    assert variable_tokens(messages, ["cat", "|", "do", "g"])["x"] == ["do", "g"]
