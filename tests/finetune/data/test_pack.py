"""Packing: the same loss and the same gradients as one by one, in fewer tokens."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from assistant.engine.formats import weights
from finetune.base import Base
from finetune.config import TrainConfig
from finetune.data import pack
from finetune.data.pack import Block
from finetune.data.tokens import Row, Tokenizer
from finetune.network import trainable
from finetune.network.batch import Batch, batch
from finetune.network.losses import row_sums
from finetune.network.trainee import Trainee
from tests.finetune.conftest import said

ROWS = st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=12), min_size=1, max_size=12)


def row(ids: list[int]) -> Row:
    return Row(np.array(ids, np.int32), np.arange(len(ids)) % 2 == 1)


def learned_pasts(one: Batch, sequences: list[list[int]]) -> None:
    """Each learned token is predicted by one that sees the whole of its row before it and nothing else."""
    padded = one.padded
    flat = padded.sees[:, 0].reshape(-1, padded.sees.shape[-1])
    width, ids = padded.ids.shape[1], padded.ids.reshape(-1)
    found = []
    for source, target, owner in zip(padded.places[one.sources], one.targets[:, 0], one.owners, strict=True):
        start = int(source) // width * width
        past = (start + torch.where(flat[source])[0]).tolist()
        assert padded.positions.reshape(-1)[past].tolist() == list(range(len(past)))
        found.append((one.rows[int(owner)][0], (*ids[past].tolist(), int(target))))
    expected = [
        (item, tuple(sequences[item][: place + 1]))
        for item in one.items
        for place in range(1, len(sequences[item]))
        if place % 2
    ]
    assert sorted(found) == sorted(expected)


@given(sequences=ROWS, seed=st.integers(0, 3), at_once=st.booleans())
def test_every_row_is_in_one_block_with_its_whole_past(*, sequences: list[list[int]], seed: int, at_once: bool) -> None:
    items = [[row(one)] for one in sequences]
    blocks = list(pack.pack(items, 16, str(seed)))
    assert sorted(item for block in blocks for item in block.items) == list(range(len(items)))
    assert all(block.tokens <= 16 for block in blocks)
    for some in [blocks] if at_once else [[block] for block in blocks]:
        learned_pasts(batch(some), sequences)


def test_a_common_beginning_is_there_once() -> None:
    items = [[row([1, 2, 3, 4])], [row([1, 2, 3, 5, 6])], [row([2, 2])]]
    (block,) = pack.pack(items, 64, "0")
    assert block.tokens == 4 + 2 + 2


def test_a_row_longer_than_a_block_gets_one_of_its_own() -> None:
    blocks = list(pack.pack([[row([1] * 100)], [row([2] * 5)]], 64, "0"))
    assert sorted(block.tokens for block in blocks) == [5, 100]
    assert batch(blocks).padded.ids.shape == (3, 128), "the third is padding"


def test_rows_of_an_item_stay_together_where_they_must() -> None:
    items = [[row([item, *range(20)]), row([item + 50, *range(20)])] for item in range(1, 30)]
    for block in pack.pack(items, 64, "0", together=True):
        assert [item for item, _ in block.rows] == [item for item in block.items for _ in range(2)]
    assert any(len(set(block.items)) < len(block.rows) or len(block.rows) % 2 for block in pack.pack(items, 64, "0"))
    alike = [[row([*range(1, 30)]), row([*range(1, 29), 7])]]
    (block,) = pack.pack(alike, 32, "0")
    assert block.tokens == 30


def test_half_a_block_is_the_rows_of_half_its_items() -> None:
    items = [[row([1, 2, item])] for item in range(3, 9)]
    (block,) = pack.pack(items, 64, "0")
    halves = block.halves(items)
    assert [item for half in halves for item in half.items] == block.items
    assert sum(half.supervised for half in halves) == block.supervised
    assert halves[0].halves(items)[0].tokens < halves[0].tokens
    assert Block().halves(items)[0].tokens == 0


def test_packing_takes_items_as_they_are_needed() -> None:
    taken: list[int] = []

    class Items(list[list[Row]]):
        def __getitem__(self, place: int) -> list[Row]:  # type: ignore[override]
            taken.append(place)
            return super().__getitem__(place)

    items = Items([[row([item + 1] * 8)] for item in range(2_000)])
    next(pack.pack(items, 16, "0"))
    assert len(taken) <= 2 * pack.AMONG


@pytest.mark.parametrize("method", ["lora", "rslora", "dora", "prefix", "prompt", "full"])
def test_packed_loss_and_gradients_are_those_of_rows_one_by_one(tiny_folder: Path, method: str) -> None:
    base = Base.open(tiny_folder)
    tokenizer = Tokenizer.of(base.chat_format, 256, None)
    items = [tokenizer.rows(said(number)) for number in range(10)]
    packed = gradients(tiny_folder, method, [batch(list(pack.pack(items, 256, "0")))])
    single = gradients(tiny_folder, method, [batch(list(pack.pack([one], 64, "0"))) for one in items])
    assert packed[1] < single[1]
    assert packed[0] == pytest.approx(single[0], rel=1e-5)
    for name, gradient in packed[2].items():
        assert (gradient - single[2][name]).abs().max() < 1e-5 * gradient.abs().max() + 1e-6, name


def gradients(folder: Path, method: str, batches: list[Batch]) -> tuple[float, int, dict[str, torch.Tensor]]:
    """(loss, tokens, gradients) of all batches."""
    torch.manual_seed(1)
    model = weights.load(folder, torch.float32, torch.device("cpu"))
    config = TrainConfig(method=method, rank=4, precision="float32")  # type: ignore[arg-type]
    trainee = Trainee(trainable.prepare(model, config, 10, "tiny"))
    parameters = trainable.trained(trainee.model)
    with torch.no_grad():
        for name, one in parameters.items():
            if "lora_B" in name:
                one.normal_(std=0.02)
    total = torch.zeros(())
    for one in batches:
        logprobs = trainee(one)
        assert row_sums(one, logprobs).sum().item() == pytest.approx(logprobs.sum().item(), rel=1e-5)
        total = total - logprobs.sum()
    total.backward()
    found = {name: one.grad for name, one in parameters.items() if one.grad is not None}
    assert len(found) == len(parameters)
    return total.item(), sum(one.tokens for one in batches), found
