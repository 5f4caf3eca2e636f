"""Whatever the logits say, what is said follows the schema."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from assistant.engine.engine import Engine
from assistant.engine.generate.constraint import Constraints, SchemaError
from assistant.engine.generate.sampling import Sampling
from assistant.engine.generate.token_choice import TokenChoice
from assistant.engine.models import catalogue
from assistant.events import Finished, Token
from prompts.message import Message
from tests.assistant.engine import ask, tiny

END = 2
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "mood": {"enum": ["gut", "schlecht", "开心"]},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 4}, "maxItems": 3},
        "home": {"type": "object", "properties": {"floor": {"type": "number"}}, "required": ["floor"]},
    },
    "required": ["name", "age", "mood", "tags"],
    "additionalProperties": False,
}


def random_text(constraints: Constraints, tokenizer: Any, schema: Any, seed: int) -> str:
    """What a model says that knows nothing."""
    random = torch.Generator().manual_seed(seed)
    choice = TokenChoice(Sampling(temperature=1, seed=seed), [], constraints.follow(json.dumps(schema)))
    said: list[int] = []
    while len(said) < 400:
        said.append(choice.choose(torch.randn(len(tokenizer) + 5, generator=random) * 4).token)
        if said[-1] == END:
            return str(tokenizer.decode(said[:-1]))
    pytest.fail("no end was reached")


@pytest.mark.parametrize("seed", range(8))
def test_random_logits_give_what_was_asked_for(seed: int) -> None:
    tokenizer = tiny.tokenizer()
    found = json.loads(random_text(Constraints(tokenizer, {END}), tokenizer, PERSON, seed))
    assert set(found) <= set(PERSON["properties"])  # type: ignore[arg-type]
    assert isinstance(found["name"], str)
    assert len(found["name"]) <= 12
    assert 0 <= found["age"] <= 150
    assert found["mood"] in ("gut", "schlecht", "开心")
    assert len(found["tags"]) <= 3
    assert isinstance(found.get("home", {"floor": 1.5})["floor"], int | float)


def test_an_end_is_allowed_when_the_value_is_whole() -> None:
    tokenizer = tiny.tokenizer()
    constraint = Constraints(tokenizer, {END}).follow('{"enum": ["ab"]}')
    ends = []
    for token in tokenizer.encode('"ab"'):
        ends.append(bool(constraint.allowed(400)[END]))
        constraint.accept(token)
    assert not any(ends)
    assert np.flatnonzero(constraint.allowed(400)).tolist() == [END]


@pytest.mark.parametrize(
    "schema",
    [
        "{",
        "7",
        '{"type": "objekt"}',
        '{"enum": []}',
        "false",
        '{"type": "string", "minLength": 5, "maxLength": 2}',
        '{"type": "integer", "minimum": 5, "maximum": 3}',
        '{"$ref": "#/nowhere"}',
        '{"not": {}}',
        "[" * 100_000,
        " " * 300_000,
    ],
    ids=lambda schema: schema[:30],
)
def test_what_cannot_be_followed_is_refused(schema: str) -> None:
    with pytest.raises(SchemaError, match="json_schema "):
        Constraints(tiny.tokenizer(), {END}).follow(schema)


def test_any_json() -> None:
    tokenizer = tiny.tokenizer()
    constraint = Constraints(tokenizer, {END}).follow("{}")
    for token in tokenizer.encode('{"a": [1, true, null, "你"]}'):
        assert constraint.allowed(400)[token]
        constraint.accept(token)
    assert constraint.allowed(400)[END]


@pytest.mark.slow
def test_the_real_model_answers_in_form(real_models: Path) -> None:
    engine = Engine.load(real_models / catalogue.DEFAULT)
    schema = {
        "type": "object",
        "properties": {"capital": {"type": "string", "maxLength": 20}, "large": {"type": "boolean"}},
        "required": ["capital", "large"],
        "additionalProperties": False,
    }
    asked = Sampling(temperature=0, max_tokens=60, json_schema=json.dumps(schema))
    events = list(ask.chat(engine, [Message("user", "Tell me of the capital of France, as JSON.")], asked))
    found = json.loads("".join(event.text for event in events if isinstance(event, Token)))
    assert found["capital"]
    assert isinstance(found["large"], bool)
    (finished,) = [event for event in events if isinstance(event, Finished)]
    assert finished.reason == "stop"
