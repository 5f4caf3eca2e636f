"""The real default model: what it says, and that it says what transformers' own reader and `generate` say."""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from assistant.engine.engine import Engine
from assistant.engine.formats import weights
from assistant.engine.generate.reply import Reply
from assistant.engine.generate.sampling import Sampling
from assistant.engine.generate.schedule import Schedule, Task
from assistant.engine.generate.speculation import Drafts
from assistant.engine.models import catalogue, model_folder
from assistant.engine.networks.network import Ask, Read
from assistant.engine.request import Chat
from assistant.events import Event, Finished, Prefilled, Token
from prompts.message import Message
from tests.assistant.engine import ask

pytestmark = pytest.mark.slow

GREEDY = Sampling(temperature=0, max_tokens=32)
QUESTION = Message("user", "What is the capital of France?")


@pytest.fixture(scope="module")
def engine(real_models: Path) -> Engine:
    return Engine.load(real_models / catalogue.DEFAULT)


def said(events: Iterable[Event]) -> tuple[str, list[int], Prefilled, Finished]:
    """(text, ids, prefilled, finished) of a reply."""
    text, ids, begun = "", [], Prefilled(0)
    for event in events:
        if isinstance(event, Token):
            text += event.text
            ids += [event.id] if event.id is not None else []
        elif isinstance(event, Prefilled):
            begun = event
    assert isinstance(event, Finished)
    return text, ids, begun, event


@pytest.fixture(scope="module")
def reference(real_models: Path) -> Any:
    """transformers' own model with the same weights, in float32."""
    folder = model_folder.ready(real_models / catalogue.DEFAULT, lambda _: None)
    return weights.load(folder, torch.float32, torch.device("cpu"))


@torch.inference_mode()
def margins(reference: Any, prompt: list[int], reply: list[int]) -> list[float]:
    """By how much each token of a reply misses being the one that `generate` would say there; 0 where it is that."""
    logits = reference(torch.tensor([prompt + reply])).logits[0, len(prompt) - 1 : -1]
    said = logits.gather(1, torch.tensor(reply)[:, None])[:, 0]
    return [float(one) for one in logits.amax(1) - said]


@pytest.mark.parametrize(("most", "ended"), [(3, "length"), (32, "stop")])
def test_the_next_turn_waits_for_its_own_words_alone(engine: Engine, most: int, ended: str) -> None:
    text, _, _, finished = said(ask.chat(engine, [QUESTION], Sampling(temperature=0, max_tokens=most)))
    assert finished.reason == ended
    turns = [QUESTION, Message("assistant", text), Message("user", "And of Spain?")]
    _, _, begun, _ = said(ask.chat(engine, turns, GREEDY))
    words, generation_prompt = (
        ["And", " of", " Spain", "?"],
        ["<|im_end|>", "\n", "<|im_start|>", "ass", "istant", "\n"],
    )
    assert begun.prompt_tokens - begun.cached_tokens == len(words + generation_prompt)


def test_a_conversation(engine: Engine) -> None:
    text, _, begun, finished = said(ask.chat(engine, [QUESTION], GREEDY))
    assert "Paris" in text
    assert finished.reason == "stop"
    assert begun.context_tokens == 8192
    again = [QUESTION, Message("assistant", text), Message("user", "And of Spain?")]
    second, _, goes_on, _ = said(ask.chat(engine, again, GREEDY))
    assert "Madrid" in second
    assert goes_on.cached_tokens >= begun.prompt_tokens
    known = catalogue.known(catalogue.DEFAULT).source
    assert isinstance(known, catalogue.Wheel)
    assert finished.model_hash == known.members[0].sha256


PROMPTS = [
    "Tell me of 鲸鱼 and 12345 whales 🐳.",
    "Write a Python function that adds two numbers.",
    "Why is the sky blue?",
    "Count from 1 to 50.",
    "Say 'the quick brown fox' ten times.",
    "Translate to French: I would like a cup of tea.",
    "List ten animals with one fact about each.",
    "What is 17 times 23? Show each step.",
    "Write a poem about autumn rain.",
    "你好，请介绍一下你自己。",
    "Explain how a bicycle stays upright.",
    "Name the planets in order.",
    "Write a letter to a friend who moved away.",
    "What does HTTP status 404 mean?",
    "Give me a recipe for bread.",
    "Summarise the story of Cinderella.",
    "What is the difference between a list and a tuple in Python?",
    "Complete: once upon a time, in a village by the sea,",
    "Write a JSON object with a name, an age and three hobbies.",
    "Who wrote Hamlet, and when?",
]


def test_greedy_tokens_are_those_of_generate(engine: Engine, reference: Any) -> None:
    """20 prompts, 256 tokens each, eight at a time; where two tokens are as good as equal either may be said."""
    replies = together(engine, [[Message("user", text)] for text in PROMPTS], GREEDY.replace({"max_tokens": 256}))
    assert sum(map(len, replies)) > 2000
    for text, reply in zip(PROMPTS, replies, strict=True):
        missed = margins(reference, engine.chat_format.encode([Message("user", text)]), reply)
        assert max(missed) < 0.01, (text, max(missed))
        assert sum(one > 0 for one in missed) <= 2, text


def test_together_is_alone_bit_for_bit(engine: Engine) -> None:
    chats = [[Message("user", text)] for text in PROMPTS[:5]]
    sampled = Sampling(temperature=1.0, seed=3, max_tokens=24)
    alone = [ids for messages in chats for ids in together(engine, [messages], sampled)]
    assert together(engine, chats, sampled) == alone


def test_drafts_change_nothing(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    messages = [Message("user", "Repeat this word for word, three times: " + "the old oak tree by the river, " * 4)]
    asked: list[int] = []
    run = engine.run

    def counting(asks: Sequence[Ask | Read]) -> list[Any]:
        asked.extend(len(ask.ids) for ask in asks)
        return run(asks)

    monkeypatch.setattr(engine, "run", counting)
    monkeypatch.setattr(Drafts, "_longest", lambda _: 4)
    drafted = said(ask.chat(engine, messages, GREEDY.replace({"max_tokens": 96})))[1]
    assert asked.count(5) > 5, "drafts of four tokens"
    monkeypatch.setattr(Reply, "_drafts", lambda _: None)
    assert drafted == said(ask.chat(engine, messages, GREEDY.replace({"max_tokens": 96})))[1]


def together(engine: Engine, chats: Sequence[Sequence[Message]], sampling: Sampling) -> list[list[int]]:
    """The replies' ids, eight at work at a time."""
    replies: list[list[int]] = [[] for _ in chats]
    schedule = Schedule(engine.run)
    waiting = list(enumerate(chats))
    errors: list[Exception | None] = []

    def note(ids: list[int], event: Event) -> None:
        if isinstance(event, Token) and event.id is not None:
            ids.append(event.id)

    while waiting or schedule.tasks:
        while waiting and len(schedule.tasks) < 8:
            index, messages = waiting.pop(0)
            schedule.add(Task(engine.steps(Chat(messages, sampling)), partial(note, replies[index]), errors.append))
        schedule.round()
    assert errors == [None] * len(chats)
    return replies


def test_continuing_says_what_one_reply_would_have_said(engine: Engine) -> None:
    messages = [Message("user", "Count from one to ten in words.")]
    whole, _, _, _ = said(ask.chat(engine, messages, GREEDY))
    cut, _, _, _ = said(ask.chat(engine, messages, GREEDY.replace({"max_tokens": 12})))
    assert whole.startswith(cut)
    assert cut != whole
    again = [*messages, Message("assistant", cut)]
    rest, _, _, _ = said(ask.chat(engine, again, GREEDY.replace({"max_tokens": 20}), continue_final=True))
    assert cut + rest == whole


def test_half_precision_runs(real_models: Path) -> None:
    engine = Engine.load(real_models / catalogue.DEFAULT, dtype="bfloat16")
    assert "Paris" in said(ask.chat(engine, [QUESTION], GREEDY))[0]
