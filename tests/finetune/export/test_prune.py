"""A model without its least missed layers: which they are, that it is a whole model, and what is told of it."""

import json
import math
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from sqlite_utils import Database
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from assistant.engine.generate.chat_format import ChatFormat
from assistant.engine.models import catalogue
from assistant.errors import TrainingRefused
from assistant.paths import Paths
from assistant.store.training import datasets, runs
from finetune.base import Base, opened_base
from finetune.cli.group import top
from finetune.data.example import Example
from finetune.data.tokens import Tokenizer
from finetune.export import prune
from tests.assistant.engine import tiny
from tests.finetune.conftest import TINY, examples, freeze

IDLE = 2
"""The layer that adds nothing."""


@pytest.fixture(scope="session")
def deep_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of five layers that has learned the words of the examples; one of the layers gives what it was given."""
    folder = tmp_path_factory.mktemp("deep")
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**{**tiny.SIZES, "num_hidden_layers": 5}))
    idle = model.model.layers[IDLE].requires_grad_(False)
    idle.self_attn.o_proj.weight.data.zero_()
    idle.mlp.down_proj.weight.data.zero_()
    tokenizer = tiny.tokenizer()
    form = ChatFormat(tokenizer)
    ids = [torch.tensor([form.encode(one.messages)]) for one in examples("supervised", 9)]
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=1e-2)
    for step in range(120):
        model(ids[step % 9], labels=ids[step % 9]).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.generation_config.eos_token_id = 2
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def deep(home: Paths, deep_folder: Path) -> Path:
    """That model by the name `deep`."""
    catalogue.add_path(home, "deep", deep_folder)
    return deep_folder


def test_the_layer_that_does_nothing_goes_first(db: Database, home: Paths, deep: Path, tmp_path: Path) -> None:
    freeze(db, count=48)
    done = prune.prune(db, home, "data", "deep", 2, tmp_path / "out")
    assert done.dropped[0] == IDLE and done.dropped[1] != IDLE
    assert (done.before.layers, done.after.layers) == (5, 3)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    assert model.config.num_hidden_layers == 3 and len(model.model.layers) == 3
    assert done.after.parameters == sum(one.numel() for one in model.parameters())
    original = AutoModelForCausalLM.from_pretrained(deep, dtype=torch.float32)
    kept = [at for at in range(5) if at not in done.dropped]
    for layer, at in zip(model.model.layers, kept, strict=True):
        expected = original.model.layers[at].mlp.up_proj.weight.bfloat16().float()
        assert torch.equal(layer.mlp.up_proj.weight, expected)


def test_dropping_nothing_costs_nothing(db: Database, home: Paths, deep: Path, tmp_path: Path) -> None:
    freeze(db, count=48)
    done = prune.prune(db, home, "data", "deep", 1, tmp_path / "out")
    assert done.after.perplexity == pytest.approx(done.before.perplexity, rel=1e-3)
    base = Base.open(deep)
    tokenizer = Tokenizer.of(base.chat_format, 256, 2)
    dataset = datasets.get(db, "data")
    rows = [tokenizer.rows(Example.from_json(one.body))[0] for one in datasets.examples(db, dataset.id, "test")]
    model = AutoModelForCausalLM.from_pretrained(deep, dtype=torch.float32)
    total = tokens = 0.0
    with torch.inference_mode():
        for row in rows:
            logprobs = model(torch.from_numpy(row.ids)[None].long()).logits[0].log_softmax(-1)
            total -= sum(float(logprobs[at - 1, row.ids[at]]) for at, on in enumerate(row.learned) if on)
            tokens += row.supervised
    assert done.before.perplexity == pytest.approx(math.exp(total / tokens), rel=0.05)  # in bfloat16, on some machines


def test_layers_of_two_kinds_stay_what_they_are(tmp_path: Path) -> None:
    kinds = ["full_attention", "sliding_attention", "full_attention", "sliding_attention"]
    sizes = {**tiny.SIZES, "num_hidden_layers": 4, "use_sliding_window": True, "sliding_window": 8}
    model = Qwen2ForCausalLM(Qwen2Config(**sizes, layer_types=kinds)).eval()
    prune.drop(model, 1)
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert again.config.layer_types == [kinds[0], kinds[2], kinds[3]]
    ids = torch.arange(20)[None]
    asked = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
    assert torch.equal(model.generate(ids, **asked), again.generate(ids, **asked))


def test_the_smaller_model_is_trained_and_told(db: Database, home: Paths, deep: Path, tmp_path: Path) -> None:
    assert deep
    freeze(db, count=48)
    out = tmp_path / "shallow"
    asked = ["prune", "--data", "data", "-m", "deep", "--layers", "3", "--out", str(out), "--train", "--json"]
    told = CliRunner().invoke(top, asked)
    assert told.exit_code == 0, told.output
    result = json.loads(told.stdout.splitlines()[-1])
    assert result["retrained"]["layers"] == 2
    assert result["retrained"]["perplexity"] < result["after"]["perplexity"]
    assert runs.get(db, result["run"]).model == "shallow"
    assert opened_base(home, "shallow").chat_format.end_ids
    again = CliRunner().invoke(top, [*asked[:-4], "--out", str(tmp_path / "other" / "shallow"), "--train"])
    assert again.exit_code == 1 and "already" in str(again.exception)


def test_what_cannot_be_pruned_is_refused(db: Database, home: Paths, tmp_path: Path) -> None:
    freeze(db)
    with pytest.raises(TrainingRefused, match="from 1 to 1 can be dropped, not 2"):
        prune.prune(db, home, "data", TINY, 2, tmp_path / "out")
    catalogue.add_path(home, "gpt", tiny.save(tmp_path / "gpt", "gpt2"))
    with pytest.raises(TrainingRefused, match="'gpt2' can't be dropped"):
        prune.prune(db, home, "data", "gpt", 1, tmp_path / "out")
    freeze(db, count=6, name="few")
    with pytest.raises(TrainingRefused, match="no validation part"):
        prune.prune(db, home, "few", TINY, 1, tmp_path / "out")
    assert not (tmp_path / "out").exists()
