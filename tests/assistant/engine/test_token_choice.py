"""Each setting against its definition, on logits small enough to reckon by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.engine.sampling import Sampling
from assistant.engine.token_choice import TokenChoice

OFF = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
CPU = torch.device("cpu")
LOGITS = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()


def possible(draws: int = 400, prompt: list[int] | None = None, **values: float) -> set[int]:
    """The tokens that come up."""
    choice = TokenChoice(Sampling(**{**OFF, **values, "seed": 1}), prompt or [], CPU)  # type: ignore[arg-type]
    return {choice._choose(LOGITS) for _ in range(draws)}


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
    choice = TokenChoice(Sampling(**{**OFF, "seed": 3}), [], CPU)  # type: ignore[arg-type]
    draws = [choice.choose(LOGITS)[0] for _ in range(4000)]
    assert [draws.count(token) / 4000 for token in range(4)] == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.03)


def test_high_temperature_evens_out() -> None:
    choice = TokenChoice(Sampling(**{**OFF, "temperature": 5.0, "seed": 3}), [], CPU)  # type: ignore[arg-type]
    draws = [choice.choose(LOGITS)[0] for _ in range(4000)]
    expected = (LOGITS / 5).softmax(0).tolist()
    assert [draws.count(token) / 4000 for token in range(4)] == pytest.approx(expected, abs=0.03)


def test_the_logprob_is_the_models_own() -> None:
    """Whatever was done to the logits, and whatever their scale."""
    sampling = Sampling(temperature=0, repetition_penalty=5.0, top_k=1, seed=1)
    token, logprob = TokenChoice(sampling, [0, 2, 3], CPU).choose(LOGITS + 7)
    assert token == 1
    assert logprob == pytest.approx(float(LOGITS[1]), abs=1e-5)


def test_negative_logits_of_seen_tokens_get_more_negative() -> None:
    choice = TokenChoice(Sampling(temperature=0, repetition_penalty=2.0), [0], CPU)
    assert choice.choose(torch.tensor([-1.0, -1.5]))[0] == 1
    assert choice.choose(torch.tensor([-1.0, -1.5]))[0] == 0, "both are seen now"


def test_a_seed_is_made_up_and_told() -> None:
    assert len({TokenChoice(Sampling(), [], CPU).seed for _ in range(5)}) == 5
    assert TokenChoice(Sampling(seed=2**63 - 1), [], CPU).seed == 2**63 - 1


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
    once, again = TokenChoice(sampling, [0], CPU), TokenChoice(sampling, [0], CPU)
    chosen = [once.choose(scores) for _ in range(3)]
    assert chosen == [again.choose(scores) for _ in range(3)]
    assert all(0 <= token < len(logits) and logprob <= 1e-4 for token, logprob in chosen)
