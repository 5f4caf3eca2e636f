"""A model that learns what it says itself learns nothing, and its loss is the entropy of what it says."""

from pathlib import Path

import pytest
import torch

from assistant.engine.formats import weights
from finetune.base import Base
from finetune.config import TrainConfig
from finetune.data import pack
from finetune.data.tokens import Tokenizer
from finetune.lineage import distill
from finetune.network import trainable
from finetune.network.batch import batch
from finetune.network.head import spread
from finetune.network.trainee import Trainee
from tests.finetune.conftest import said

CPU = torch.device("cpu")


@pytest.mark.parametrize("family", ["own pass", "transformers"])
def test_what_a_model_says_itself_teaches_it_nothing(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    monkeypatch.setattr(distill, "LIKELIEST", 320)  # the whole vocabulary
    base = Base.open(tiny_folder)
    tokenizer = Tokenizer.of(base.chat_format, 256, None)
    items = [tokenizer.rows(said(number)) for number in range(4)]
    config = TrainConfig(rank=4, precision="float32")
    trainee = Trainee(trainable.prepare(weights.load(tiny_folder, torch.float32, CPU), config, 10, "tiny"))
    if family == "transformers":
        trainee._own_forward = None
    with torch.no_grad():
        for name, one in trainable.trained(trainee.model).items():
            if "lora_B" in name:
                one.normal_(std=0.05)
    largest = {}
    for share in (0.0, 0.5, 1.0):
        soft = distill.softened(trainee, items, pack.pack(items, 256, "0"), 256, CPU, share)
        logprobs = trainee(batch(list(pack.pack(soft, 256, "0"))))
        (-logprobs.sum()).backward()
        gradients = [one.grad for one in trainable.trained(trainee.model).values() if one.grad is not None]
        largest[share] = max(float(one.abs().max()) for one in gradients)
        trainee.zero_grad()
        if share == 0.0:
            plain = trainee(batch(list(pack.pack(items, 256, "0"))))
            assert torch.allclose(logprobs, plain, atol=1e-5)
    assert largest[1.0] < 1e-3 * largest[0.0]
    assert largest[0.5] == pytest.approx(largest[0.0] / 2, rel=0.01)


def test_a_spread_is_the_whole_distribution_on_average() -> None:
    """The mean of many draws is the distribution, also where most of it is in no one token."""
    torch.manual_seed(0)
    head, state = torch.nn.Linear(8, 50, bias=False), torch.randn(1, 8)
    expected = head(state).softmax(-1)[0]
    ids, weights = spread(head, state.expand(4000, 8), 3, divisor=1.0)
    assert ids.shape == weights.shape == (4000, 4)
    assert torch.allclose(weights.sum(1), torch.ones(4000), atol=1e-5)
    assert not (ids[:, :3] == ids[:, 3:]).any()
    mean = torch.zeros(50).index_add_(0, ids.flatten(), weights.flatten().detach()) / 4000
    assert torch.allclose(mean, expected, atol=0.01)
