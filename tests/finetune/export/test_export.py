"""What is exported is loaded again by the programs it is for, and says what the run's own model says."""

import json
import os
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from peft import PeftModel
from safetensors.torch import load_file
from sqlite_utils import Database
from transformers import AutoModelForCausalLM, AutoTokenizer

from assistant.adapters.folder import CHANGED
from assistant.engine.models import catalogue
from assistant.errors import TrainingError, TrainingRefused
from assistant.paths import Paths
from assistant.store.training import datasets, runs
from finetune.base import opened_base
from finetune.cli.group import top
from finetune.export import export, merge
from finetune.network import greedy, trainable
from finetune.network.greedy import Reply
from finetune.prove import prove
from tests.assistant.engine import tiny
from tests.finetune.conftest import freeze
from tests.finetune.train.test_train import trained

LLAMA_CPP = os.environ.get("LLAMA_CPP_PYTHON") or (sys.executable if find_spec("llama_cpp") else "")
"""A Python that has llama-cpp-python."""
MERGED = ["lora", "rslora", "dora", "adalora", "ia3", "top-layers", "full"]


def done_run(db: Database, home: Paths, method: str = "lora", **settings: Any) -> runs.Run:
    freeze(db, count=80)
    rate = {"ia3": 0.05, "adalora": 0.05, "prefix": 0.05, "prompt": 0.05}.get(method, 5e-3)
    return trained(db, home, **{"method": method, "steps": 12, "learning_rate": rate, "layers": 1, **settings})[0]


def logits(base: Path, home: Paths, run: runs.Run | None) -> torch.Tensor:
    """Of the run's model, or of the base alone, by nothing of ours."""
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    changed = home.adapters / run.name / CHANGED if run else None
    if changed and changed.is_file():
        model.load_state_dict(load_file(changed), strict=False)
    elif run:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = PeftModel.from_pretrained(model, str(home.adapters / run.name))
    return own_logits(model)


def own_logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(torch.tensor([[1, 7, 30, 200, 301, 44]])).logits.float()


@pytest.mark.parametrize("method", MERGED)
def test_merged_weights_are_the_adapted_model(
    db: Database, home: Paths, tiny_folder: Path, tmp_path: Path, method: str
) -> None:
    run = done_run(db, home, method)
    (check,) = export.export(db, home, run.name, "safetensors", tmp_path / "out")
    assert check.passed and check.agreement.tokens >= 30
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert model.dtype == torch.bfloat16
    adapted, base = logits(tiny_folder, home, run), logits(tiny_folder, home, None)
    assert (own_logits(model.float()) - adapted).abs().max() < 0.1 * (adapted - base).abs().max()
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template == tiny.CHATML
    catalogue.add_path(home, "merged", tmp_path / "out")
    assert opened_base(home, "merged").chat_format.end_ids
    for file in (tmp_path / "out").iterdir():
        assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("method", ["lora", "prefix", "prompt"])
def test_an_adapter_is_copied_as_it_is(db: Database, home: Paths, tmp_path: Path, method: str) -> None:
    run = done_run(db, home, method)
    (check,) = export.export(db, home, run.name, "peft", tmp_path / "out")
    assert check.agreement.equal_tokens == check.agreement.tokens and check.agreement.margin_nats == 0
    assert trainable.hash_of(home.adapters / run.name) == run.adapter_hash
    for file in (home.adapters / run.name).iterdir():
        assert (tmp_path / "out" / file.name).read_bytes() == file.read_bytes()


def test_float16_rounds_finer(db: Database, home: Paths, tmp_path: Path) -> None:
    run = done_run(db, home)
    for format_ in ("safetensors", "gguf"):
        check, *_ = export.export(db, home, run.name, format_, tmp_path / format_, dtype=torch.float16)
        assert check.passed and check.agreement.equal_tokens == check.agreement.tokens
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "safetensors").dtype == torch.float16
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "safetensors", dtype=torch.float32)
    model.model.norm.weight.data[0] = 1e6
    with pytest.raises(TrainingRefused, match="bfloat16"):
        merge.rounded(model, torch.float16)


def test_gguf_is_read_again_and_described(db: Database, home: Paths, tmp_path: Path) -> None:
    run = done_run(db, home)
    prove.evaluate(db, home, run.name)
    ours, *_ = export.export(db, home, run.name, "gguf", tmp_path / "out")
    assert ours.passed and ours.program == "our GGUF reader"
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == ["Modelfile", "README.md", f"{run.name}.gguf"]
    modelfile = (tmp_path / "out" / "Modelfile").read_text()
    assert modelfile.startswith(f"FROM ./{run.name}.gguf\n")
    assert "{{ .Content }}<|im_end|>" in modelfile and "PARAMETER stop <|im_end|>" in modelfile
    card = (tmp_path / "out" / "README.md").read_text()
    for said in (
        "- train: 60",
        "- test: 10",
        "learning rate: 0.005",
        "| **perplexity** |",
        run.base_hash,
        "licence: unknown",
    ):
        assert said in card
    assert not list(tmp_path.glob(".*"))


@pytest.mark.skipif(not LLAMA_CPP, reason="no llama-cpp-python here: name a Python that has it in LLAMA_CPP_PYTHON")
def test_llama_cpp_says_the_same(db: Database, home: Paths, tmp_path: Path) -> None:
    run = done_run(db, home)
    _, check = export.export(db, home, run.name, "gguf", tmp_path / "out", llama_cpp=LLAMA_CPP)
    assert check.passed and check.program.startswith("llama.cpp")
    assert check.agreement.equal_tokens > 0.95 * check.agreement.tokens


def test_a_python_without_llama_cpp_is_told(db: Database, home: Paths, tmp_path: Path) -> None:
    run = done_run(db, home)
    for python, said in (("/nowhere/python", "can't be started"), ("false", "llama.cpp failed")):
        with pytest.raises(TrainingError, match=said):
            export.export(db, home, run.name, "gguf", tmp_path / "out", llama_cpp=python)
    assert not (tmp_path / "out").exists()


def test_another_model_is_told(db: Database, home: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export that was merged wrongly is written, told, and ends with exit status 1."""
    run = done_run(db, home)
    monkeypatch.setattr(merge, "merged", lambda model: model.unload())
    asked = ["export", run.name, "--format", "safetensors", "--out", str(tmp_path / "out")]
    told = CliRunner().invoke(top, asked)
    assert told.exit_code == 1
    assert "more than 16 bits explain" in told.output
    told = CliRunner().invoke(top, [*asked[:-1], str(tmp_path / "other"), "--json"])
    assert told.exit_code == 1 and json.loads(told.stdout)["passed"] is False


def test_the_command_says_how_to_use_it(db: Database, home: Paths, tmp_path: Path) -> None:
    run = done_run(db, home)
    out = tmp_path / "out"
    told = CliRunner().invoke(top, ["export", run.name, "--format", "gguf", "--out", str(out)])
    assert told.exit_code == 0, told.output
    assert f"assistant models add {run.name} --path {out}/{run.name}.gguf" in told.output
    assert "ollama create" in told.output


def test_what_cannot_be_exported_is_refused(db: Database, home: Paths, tmp_path: Path) -> None:
    run = done_run(db, home, "prompt")
    full = trained(db, home, method="full", steps=2)[0]
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    for name, format_, out, said in (
        (run.name, "gguf", "out", "can't be merged"),
        (full.name, "peft", "out", "has no adapter"),
        (full.name, "safetensors", "taken", "exists already"),
    ):
        with pytest.raises(TrainingRefused, match=said):
            export.export(db, home, name, format_, tmp_path / out)
    config = home.adapters / run.name / "adapter_config.json"
    config.write_text(config.read_text().replace("{", '{"x": 1,', 1))
    with pytest.raises(TrainingRefused, match="not what"):
        export.export(db, home, run.name, "peft", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_test_part_that_is_gone_leaves_general_text(db: Database, home: Paths, tmp_path: Path) -> None:
    run = done_run(db, home)
    datasets.delete(db, "data")
    (check,) = export.export(db, home, run.name, "safetensors", tmp_path / "out")
    assert check.passed and check.agreement.prompts > 0
    assert "deleted since" in (tmp_path / "out" / "README.md").read_text()


def test_margins_are_those_of_the_model() -> None:
    logprobs = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]]).log()
    reply = Reply((1,), (0, 2), logprobs)
    same = greedy.compare([reply], [[0, 2]])
    assert (same.equal_tokens, same.equal_replies, same.margin_nats) == (2, 1, 0)
    other = greedy.compare([reply, reply], [[1, 2], [0, 2]])
    assert (other.tokens, other.equal_tokens, other.equal_replies) == (4, 3, 1)
    assert other.margin_nats == pytest.approx(0.5108, abs=1e-3)
