"""The real default model: what it says, and that it says what transformers' own reader and `generate` say."""

from collections.abc import Iterable
from pathlib import Path

import pytest
import torch

from assistant.engine import catalogue
from assistant.engine.engine import Engine
from assistant.engine.sampling import Sampling
from assistant.events import Event, Finished, Prefilled, Token
from prompts.message import Message

pytestmark = pytest.mark.slow

GREEDY = Sampling(temperature=0, max_tokens=32)
QUESTION = Message("user", "What is the capital of France?")


@pytest.fixture(scope="module")
def engine(real_models: Path) -> Engine:
    return Engine.load(real_models / catalogue.DEFAULT, dtype="float32")


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


def generated(engine: Engine, messages: list[Message], count: int) -> list[int]:
    """What `transformers.generate` says, without the end of turn."""
    prompt = torch.tensor([engine.chat_format.encode(messages)])
    ids = engine._model.generate(prompt, do_sample=False, max_new_tokens=count)[0, prompt.shape[1] :].tolist()
    return [token for token in ids if token != engine._tokenizer.eos_token_id]


def test_a_conversation(engine: Engine) -> None:
    text, _, begun, finished = said(engine.chat([QUESTION], GREEDY))
    assert "Paris" in text
    assert finished.reason == "stop"
    assert begun.context_tokens == 8192
    again = [QUESTION, Message("assistant", text), Message("user", "And of Spain?")]
    second, _, goes_on, _ = said(engine.chat(again, GREEDY))
    assert "Madrid" in second
    assert goes_on.cached_tokens >= begun.prompt_tokens
    known = catalogue.known(catalogue.DEFAULT).source
    assert isinstance(known, catalogue.Wheel)
    assert finished.model_hash == known.member_sha256


def test_greedy_tokens_are_those_of_generate(engine: Engine) -> None:
    messages = [Message("user", "Tell me of 鲸鱼 and 12345 whales 🐳.")]
    text, ids, _, _ = said(engine.chat(messages, GREEDY))
    assert ids == generated(engine, messages, 32)
    assert text == engine._tokenizer.decode(ids, skip_special_tokens=True)


def test_continuing_says_what_one_reply_would_have_said(engine: Engine) -> None:
    messages = [Message("user", "Count from one to ten in words.")]
    whole, _, _, _ = said(engine.chat(messages, GREEDY))
    cut, _, _, _ = said(engine.chat(messages, GREEDY.replace({"max_tokens": 12})))
    assert whole.startswith(cut)
    assert cut != whole
    rest, _, _, _ = said(
        engine.chat([*messages, Message("assistant", cut)], GREEDY.replace({"max_tokens": 20}), continue_final=True)
    )
    assert cut + rest == whole


def test_half_precision_runs(real_models: Path) -> None:
    engine = Engine.load(real_models / catalogue.DEFAULT, dtype="bfloat16")
    assert "Paris" in said(engine.chat([QUESTION], GREEDY))[0]
