"""Each setting against its definition, on logits small enough to reckon by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.engine.generate.sampling import Sampling
from assistant.engine.generate.token_choice import TokenChoice, _likeliest
from assistant.errors import ModelBroken

OFF = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
LOGITS = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()


def possible(draws: int = 400, prompt: list[int] | None = None, **values: float) -> set[int]:
    """The tokens that come up."""
    choice = TokenChoice(Sampling(**{**OFF, **values, "seed": 1}), prompt or [])  # type: ignore[arg-type]
    return {choice._token(choice._changed(LOGITS.numpy())) for _ in range(draws)}


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ({}, {0, 1, 2, 3}),
        ({"temperature": 0}, {0}),
        ({"temperature": 1e-9}, {0}),
        ({"top_k": 2}, {0, 1}),
        ({"top_k": 100}, {0, 1, 2, 3}),
        ({"top_p": 0.8}, {0, 1}),
        ({"top_p": 0.81}, {0, 1, 2}),
        ({"top_p": 0.0}, {0}),
        ({"min_p": 0.31}, {0, 1}),
        ({"min_p": 0.29}, {0, 1, 2}),
        ({"min_p": 1.0}, {0}),
        ({"top_k": 3, "top_p": 0.83}, {0, 1}),  # top-p of what top-k has left: 0.5 / 0.95 + 0.3 / 0.95 reach it
        ({"top_p": 0.96, "min_p": 0.2}, {0, 1, 2}),
        ({"temperature": 0, "repetition_penalty": 3.0, "prompt": [0]}, {1}),
    ],
)
def test_which_tokens_are_left(values: dict[str, float], kept: set[int]) -> None:
    assert possible(**values) == kept  # type: ignore[arg-type]


def test_frequencies_are_the_probabilities() -> None:
    choice = TokenChoice(Sampling(**{**OFF, "seed": 3}), [])  # type: ignore[arg-type]
    draws = [choice.choose(LOGITS).token for _ in range(4000)]
    assert [draws.count(token) / 4000 for token in range(4)] == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.03)


def test_high_temperature_evens_out() -> None:
    choice = TokenChoice(Sampling(**{**OFF, "temperature": 5.0, "seed": 3}), [])  # type: ignore[arg-type]
    draws = [choice.choose(LOGITS).token for _ in range(4000)]
    expected = (LOGITS / 5).softmax(0).tolist()
    assert [draws.count(token) / 4000 for token in range(4)] == pytest.approx(expected, abs=0.03)


def test_the_logprob_is_the_models_own() -> None:
    """Whatever was done to the logits, and whatever their scale."""
    sampling = Sampling(temperature=0, repetition_penalty=5.0, top_k=1, seed=1)
    chosen = TokenChoice(sampling, [0, 2, 3]).choose(LOGITS + 7)
    assert chosen.token == 1
    assert chosen.logprob == pytest.approx(float(LOGITS[1]), abs=1e-5)


def test_negative_logits_of_seen_tokens_get_more_negative() -> None:
    choice = TokenChoice(Sampling(temperature=0, repetition_penalty=2.0), [0])
    assert choice.choose(torch.tensor([-1.0, -1.5])).token == 1
    assert choice.choose(torch.tensor([-1.0, -1.5])).token == 0, "both are seen now"


def test_a_seed_is_made_up_and_told() -> None:
    assert len({TokenChoice(Sampling(), []).seed for _ in range(5)}) == 5
    assert TokenChoice(Sampling(seed=2**63 - 1), []).seed == 2**63 - 1


@settings(max_examples=60, deadline=None)
@given(
    logits=st.lists(st.floats(-60, 60), min_size=1, max_size=40),
    temperature=st.floats(0, 5),
    top_p=st.floats(0, 1),
    top_k=st.integers(0, 50),
    min_p=st.floats(0, 1),
    penalty=st.floats(0.1, 10),
    seed=st.integers(0, 2**63 - 1),
)
def test_any_setting_chooses_and_the_seed_decides(
    logits: list[float], temperature: float, top_p: float, top_k: int, min_p: float, penalty: float, seed: int
) -> None:
    sampling = Sampling(temperature, top_p, top_k, min_p, penalty, seed=seed)
    scores = torch.tensor(logits)
    once, again = TokenChoice(sampling, [0]), TokenChoice(sampling, [0])
    chosen = [once.choose(scores) for _ in range(3)]
    assert chosen == [again.choose(scores) for _ in range(3)]
    assert all(0 <= one.token < len(logits) and one.logprob <= 1e-4 for one in chosen)


def test_presence_and_frequency_count_what_was_said_and_not_the_prompt() -> None:
    logits = torch.tensor([1.0, 0.9, 0.0])
    values = {0: 1.0, 1: 0.9, 2: 0.0}
    said: list[int] = []
    choice = TokenChoice(Sampling(temperature=0, presence_penalty=0.05, frequency_penalty=0.06), [0, 0, 0])
    for _ in range(12):
        expected = max(values, key=lambda one: values[one] - 0.05 * (one in said) - 0.06 * said.count(one))
        said.append(choice.choose(logits).token)
        assert said[-1] == expected


def test_a_bias_forces_and_bans() -> None:
    always = TokenChoice(Sampling(temperature=0, logit_bias=((3, 100.0),)), [])
    assert always.choose(LOGITS).token == 3
    never = TokenChoice(Sampling(**{**OFF, "logit_bias": ((0, -100.0), (9, 5.0)), "seed": 1}), [])  # type: ignore[arg-type]
    assert 0 not in {never.choose(LOGITS).token for _ in range(200)}, "and a token that isn't there does no harm"


def test_the_likeliest_are_told() -> None:
    chosen = TokenChoice(Sampling(temperature=0, top_logprobs=2, logit_bias=((3, 100.0),)), []).choose(LOGITS)
    assert [token for token, _ in chosen.top] == [0, 1]
    assert [logprob for _, logprob in chosen.top] == pytest.approx(LOGITS[:2].tolist(), abs=1e-6)


@given(st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=700), st.integers(1, 30))
def test_the_likeliest_without_sorting_all(values: list[float], count: int) -> None:
    logits = np.array(values, np.float32)
    assert _likeliest(logits, count).tolist() == np.argsort(-logits, kind="stable")[:count].tolist()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_model_that_computes_no_numbers(bad: float) -> None:
    with pytest.raises(ModelBroken, match=r"weights or adapter are damaged"):
        TokenChoice(Sampling(), []).choose(torch.tensor([0.0, bad, 1.0]))


@pytest.mark.parametrize(
    ("values", "plain"),
    [({}, True), ({"temperature": 1.0}, False), ({"presence_penalty": 0.1}, False), ({"top_p": 0.5}, True)],
)
def test_plain_greedy(values: dict[str, float], plain: bool) -> None:
    assert TokenChoice(Sampling(**{"temperature": 0.0, **values}), []).plain_greedy == plain  # type: ignore[arg-type]
