"""Losses and gradients equal those of TRL on the same rows, whatever else TRL does around them."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from assistant.engine.formats import weights
from finetune.base import Base
from finetune.config import TrainConfig
from finetune.data import pack
from finetune.data.example import Kind
from finetune.data.lessons import Lessons, lessons, objective_of
from finetune.data.tokens import Row, Tokenizer
from finetune.network import losses, trainable
from finetune.network.batch import batch
from finetune.network.losses import item_sums
from finetune.network.trainee import Trainee
from tests.assistant.engine import tiny
from tests.finetune.conftest import examples

CONFIG = TrainConfig(rank=4, precision="float32")
TOKENS = 512
CPU = torch.device("cpu")
pytestmark = pytest.mark.filterwarnings("ignore")


def ours(folder: Path, learned: Lessons) -> tuple[float, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """(loss, gradients, adapter): all rows in one batch."""
    torch.manual_seed(0)
    model = trainable.prepare(weights.load(folder, torch.float32, CPU), CONFIG, 10, "tiny")
    trainee = Trainee(model)
    with torch.no_grad():
        for name, one in trainable.trained(model).items():
            if "lora_B" in name:
                one.normal_(std=0.02)
    blocks = list(pack.pack(learned.items, TOKENS, "0", together=learned.together))
    with trainee.base():
        reference = item_sums(trainee, learned.items, blocks, TOKENS, CPU)
    objective = losses.objective(learned, reference, CONFIG)
    whole = batch(blocks)
    loss = objective.loss(whole, trainee(whole)) / sum(map(objective.count, blocks))
    loss.backward()
    parameters = trainable.trained(model)
    gradients = {name: one.grad for name, one in parameters.items() if one.grad is not None}
    return float(loss), gradients, {name: one.detach() for name, one in parameters.items()}


def theirs(
    folder: Path, out: Path, kind: Kind, adapter: dict[str, torch.Tensor], rows: list[Any]
) -> tuple[float, dict[str, torch.Tensor]]:
    """(loss, gradients) of TRL's trainer with the same adapter on the same rows."""
    import trl
    from datasets import Dataset

    text = [{"role": "user", "content": "the dog"}], [{"role": "assistant", "content": "fox"}]
    shown: dict[str, Any] = {
        "supervised": {"prompt": text[0], "completion": text[1]},
        "preference": {"prompt": text[0], "chosen": text[1], "rejected": text[1]},
        "kto": {"prompt": text[0], "completion": text[1], "label": True},
    }[kind]
    trainer_of, config_of = {
        "supervised": (trl.SFTTrainer, trl.SFTConfig),
        "preference": (trl.DPOTrainer, trl.DPOConfig),
        "kto": (trl.KTOTrainer, trl.KTOConfig),
    }[kind]
    told: dict[str, Any] = {"beta": CONFIG.beta} if kind != "supervised" else {}
    config = config_of(
        str(out), report_to=[], bf16=False, use_cpu=True, per_device_train_batch_size=2,
        gradient_checkpointing=False, disable_tqdm=True, **told,
    )  # fmt: skip
    tokenizer: Any = tiny.tokenizer()
    tokenizer.pad_token = "<|endoftext|>"
    trainer = trainer_of(
        model=weights.load(folder, torch.float32, CPU),
        args=config,
        train_dataset=Dataset.from_list([copy.deepcopy(shown)] * 4),
        processing_class=tokenizer,
        peft_config=trainable.peft_config(CONFIG, 10),
    )
    parameters = dict(trainer.model.named_parameters())
    with torch.no_grad():
        for name, one in adapter.items():
            parameters[name].copy_(one)
    trainer.model.train()
    loss = trainer.compute_loss(trainer.model, trainer.data_collator(rows), num_items_in_batch=None)
    loss.backward()
    found = {name: parameters[name].grad for name in adapter}
    return float(loss.detach()), {name: one for name, one in found.items() if one is not None}


def parts(row: Row) -> tuple[list[int], list[int]]:
    """(prompt, reply) of a row."""
    begin = int(row.learned.argmax())
    return row.ids[:begin].tolist(), row.ids[begin:].tolist()


def for_trl(kind: Kind, learned: Lessons) -> list[Any]:
    """Our rows as TRL's collators take them."""
    rows: list[Any] = []
    for example, item in zip(learned.examples, learned.items, strict=True):
        match kind:
            case "supervised":
                labels = np.where(item[0].learned, item[0].ids, -100)
                rows.append({"input_ids": item[0].ids.tolist(), "labels": labels.tolist()})
            case "preference":
                (prompt, chosen), (_, rejected) = map(parts, item)
                rows.append({"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected})
            case "kto":
                (prompt, reply), (_, other) = map(parts, item)
                rows.append(
                    {"prompt_ids": prompt, "completion_ids": reply, "KL_completion_ids": other, "label": example.good}
                )
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["supervised", "preference", "kto"])
def test_loss_and_gradients_are_trls(tiny_folder: Path, tmp_path: Path, kind: Kind) -> None:
    base = Base.open(tiny_folder)
    tokenizer = Tokenizer.of(base.chat_format, 256, None)
    learned = lessons(objective_of(kind, CONFIG), examples(kind, 8), tokenizer, 0)
    loss, gradients, adapter = ours(tiny_folder, learned)
    their_loss, their_gradients = theirs(tiny_folder, tmp_path, kind, adapter, for_trl(kind, learned))
    assert loss == pytest.approx(their_loss, rel=1e-4)
    assert gradients.keys() == their_gradients.keys()
    for name, gradient in gradients.items():
        assert (gradient - their_gradients[name]).abs().max() < 1e-3 * gradient.abs().max() + 1e-6, name
