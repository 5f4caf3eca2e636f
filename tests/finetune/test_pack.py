"""Packing: the same loss and the same gradients as one by one, in fewer tokens and one shape."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from assistant.engine import weights
from finetune import adapters, pack
from finetune.config import TrainConfig
from finetune.losses import row_sums
from finetune.model import Base, Trainee
from finetune.tokens import Row, Tokenizer
from tests.finetune.conftest import said

ROWS = st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=12), min_size=1, max_size=12)


def row(ids: list[int]) -> Row:
    return Row(tuple(ids), tuple(place % 2 == 1 for place in range(len(ids))))


@given(ROWS, st.integers(0, 3))
def test_every_row_is_in_one_block_with_its_whole_past(sequences: list[list[int]], seed: int) -> None:
    items = [[row(one)] for one in sequences]
    blocks = pack.pack(items, 16, str(seed))
    assert sorted(item for block in blocks for item in block.items) == list(range(len(items)))
    assert all(len(block.ids) <= 16 for block in blocks)
    for block in blocks:
        batch = pack.batch([block], 16)
        seen = batch.sees[0, 0]
        expected = [
            (item, tuple(sequences[item][: place + 1]))
            for item in block.items
            for place, learned in enumerate(items[item][0].learned)
            if learned
        ]
        found = []
        for source, target, owner in zip(block.sources, block.targets, block.owners, strict=True):
            past = [block.ids[token] for token in torch.where(seen[source])[0].tolist()]
            assert [block.positions[token] for token in torch.where(seen[source])[0].tolist()] == list(range(len(past)))
            found.append((block.items[owner], (*past, target)))
        assert sorted(found) == sorted(expected)


def test_a_common_beginning_is_there_once() -> None:
    items = [[row([1, 2, 3, 4])], [row([1, 2, 3, 5, 6])], [row([2, 2])]]
    (block,) = pack.pack(items, 64, "0")
    assert len(block.ids) == 4 + 2 + 2


def test_a_row_longer_than_a_block_gets_one_of_its_own() -> None:
    blocks = pack.pack([[row([1] * 100)], [row([2] * 5)]], 64, "0")
    assert sorted(len(block.ids) for block in blocks) == [5, 100]
    assert pack.batch(blocks, 64).ids.shape == (2, 128)


@pytest.mark.parametrize("method", ["lora", "prefix", "prompt", "full"])
def test_packed_loss_and_gradients_are_those_of_rows_one_by_one(tiny_folder: Path, method: str) -> None:
    base = Base.open(tiny_folder)
    tokenizer = Tokenizer.of(base.chat_format, 256, None)
    items = [tokenizer.rows(said(number)) for number in range(10)]
    packed = _gradients(tiny_folder, method, items, tokens=256, together=2)
    single = _gradients(tiny_folder, method, items, tokens=64, together=0)
    assert packed[1] < single[1]
    assert packed[0] == pytest.approx(single[0], rel=1e-5)
    for name, gradient in packed[2].items():
        assert (gradient - single[2][name]).abs().max() < 1e-5 * gradient.abs().max() + 1e-6, name


def _gradients(
    folder: Path, method: str, items: list[list[Row]], tokens: int, together: int
) -> tuple[float, int, dict[str, torch.Tensor]]:
    """(loss, tokens, gradients): packed, or with `together` 0 each row in a batch of its own."""
    torch.manual_seed(1)
    model = weights.load(folder, torch.float32, torch.device("cpu"))
    config = TrainConfig(method=method, rank=4, precision="float32")  # type: ignore[arg-type]
    trainee = Trainee(adapters.prepare(model, config, 10, "tiny"))
    parameters = adapters.trained(trainee.model)
    with torch.no_grad():
        for name, one in parameters.items():
            if "lora_B" in name:
                one.normal_(std=0.02)
    if together:
        batches = list(pack.batches(pack.pack(items, tokens, "0"), together, tokens))
    else:
        batches = [pack.batch(pack.pack([one], tokens, "0"), tokens) for one in items]
    total = torch.zeros(())
    for batch in batches:
        logprobs = trainee(batch)
        assert row_sums(batch, logprobs).sum().item() == pytest.approx(logprobs.sum().item(), rel=1e-5)
        total = total - logprobs.sum()
    total.backward()
    found = {name: one.grad for name, one in parameters.items() if one.grad is not None}
    assert len(found) == len(parameters)
    return total.item(), sum(batch.tokens for batch in batches), found
