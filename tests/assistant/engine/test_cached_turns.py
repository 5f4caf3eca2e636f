"""Turns, edits and regenerates in any order: the kept caches change no token of any reply."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assistant.engine.engine import Engine
from assistant.engine.generate.sampling import Sampling
from assistant.events import Finished, Prefilled, Token
from prompts.message import Message
from tests.assistant.engine import ask, tiny

GREEDY = Sampling(temperature=0, max_tokens=6)
THINKING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and not loop.last %}{{ m.content.split('</think>')[-1] }}"
    "{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""A template that leaves the thoughts out of a reply as soon as it is an old one."""


@dataclass
class Pair:
    """The same model twice: one keeps caches, the other begins anew each time."""

    keeping: Engine
    fresh: Engine
    cached: list[int] = field(default_factory=list)

    def reply(self, messages: list[Message], sampling: Sampling = GREEDY) -> str:
        said = []
        for engine in (self.keeping, self.fresh):
            self.fresh._model.conversations.clear()
            events = list(ask.chat(engine, messages, sampling))
            said.append([event.id for event in events if isinstance(event, Token)])
            if engine is self.keeping:
                self.cached += [event.cached_tokens for event in events if isinstance(event, Prefilled)]
        assert said[0] == said[1]
        return "".join(event.text for event in events if isinstance(event, Token))


@pytest.fixture(scope="module", params=["llama", "mistral-window", "gpt2"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tiny.save(tmp_path_factory.mktemp("m"), request.param)
    return Pair(*(Engine.load(folder, dtype="float32", kv_cache_bytes=60_000) for _ in range(2)))


words = st.sampled_from(["the", "quick fox", "你好", "jumps <|im_end|>", "over the lazy dog", "world 世界"])
actions = st.lists(st.tuples(st.sampled_from(["say", "again", "edit", "other"]), words, st.integers(0, 5)), max_size=6)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions)
def test_any_order_of_turns_edits_and_regenerates(pair: Pair, actions: list[tuple[str, str, int]]) -> None:
    chats: list[list[Message]] = [[]]
    for action, text, place in actions:
        messages = chats[-1]
        if action == "other":
            chats.insert(0, chats.pop()) if len(chats) > 1 else chats.append([])
            messages = chats[-1]
        elif action == "edit":
            messages = chats[-1] = messages[: 2 * (place % (len(messages) // 2 + 1))]
        elif action == "again" and messages:
            messages.pop()
        if not messages or messages[-1].role == "assistant":
            messages.append(Message("user", text))
        messages.append(Message("assistant", pair.reply(messages)))


def test_a_regenerate_reads_one_token(pair: Pair) -> None:
    messages = [Message("user", "the quick brown fox")]
    pair.reply(messages)
    pair.reply(messages)
    if pair.keeping._model.network.trees:  # a cache that can always be turned back
        assert pair.cached[-1] == len(pair.keeping.chat_format.encode(messages)) - 1


def test_a_template_that_shortens_old_replies(tmp_path: Path) -> None:
    folder = tiny.save(tmp_path, "llama", THINKING)
    pair = Pair(*(Engine.load(folder, dtype="float32") for _ in range(2)))
    first = [Message("user", "the quick fox")]
    pair.reply(first)
    second = [*first, Message("assistant", "<think>a long thought of many words</think>yes"), Message("user", "dog")]
    pair.reply(second)
    assert pair.cached[-1] >= len(pair.keeping.chat_format.encode(first)), "up to where the thought was"
    third = [*second, Message("assistant", "<think>hm</think>no"), Message("user", "fox")]
    pair.reply(third)
    assert 0 < pair.cached[-1] < len(pair.keeping.chat_format.encode(third))


def test_several_conversations_within_a_limit(pair: Pair) -> None:
    one, other = [Message("user", "the quick fox jumps")], [Message("user", "你好 你好 world")]
    for messages in (one, other, one, other):
        pair.reply(messages)
    assert isinstance(list(ask.chat(pair.keeping, one, GREEDY))[-1], Finished)
