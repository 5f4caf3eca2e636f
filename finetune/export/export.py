"""Export a run's model for other programs, and check that it gives the same tokens there.

    peft          the adapter as PEFT saves it
    safetensors   base and adapter merged, 16 bits, as transformers loads it
    gguf          the same for llama.cpp, and a Modelfile for Ollama

Each export is loaded again and compared before its folder appears.
"""

import importlib.util
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from sqlite_utils import Database

from assistant.engine.formats import gguf_writer
from assistant.engine.models import catalogue
from assistant.errors import TrainingRefused
from assistant.paths import Paths
from assistant.store.training import datasets, runs
from assistant.store.training.datasets import Dataset
from assistant.store.training.runs import Run
from finetune.base import LONGEST_TOKENS, Base, base_of
from finetune.config import TrainConfig
from finetune.data import forgetting
from finetune.data.example import Example
from finetune.export import loaded_again, merge, model_card
from finetune.export.loaded_again import Checked
from finetune.export.modelfile import modelfile
from finetune.network import greedy, trainable
from finetune.network.greedy import InTransformers, Reply
from finetune.network.trainee import device_of
from finetune.tagging import has_head
from finetune.whole_folder import whole_folder
from prompts.message import Message


@dataclass(frozen=True)
class Subject:
    """The run to export. `folder`: of its adapter or changed weights."""

    run: Run
    folder: Path
    dataset: Dataset | None
    base: Base


def export(
    db: Database,
    paths: Paths,
    run_name: str,
    format_: str,
    out: Path,
    *,
    dtype: torch.dtype = torch.bfloat16,
    llama_cpp: str = "",
    say: Callable[[str], None] = lambda _: None,
) -> list[Checked]:
    """Write the model of a run into `out`, merged weights in `dtype`; returns comparisons with the run in float32.

    `format_`: as above. `llama_cpp`: a Python with llama-cpp-python; empty: this Python, if it has it. Raises
    `TrainingError` or `ModelError`.
    """
    out = vacant(out)
    about = subject(db, paths, run_name)
    if has_head(about.folder):
        raise TrainingRefused(
            f"{run_name} has an entity head, which other formats don't support. The files in PEFT's format are in "
            f"{about.folder}; `finetune tag {run_name}` uses them."
        )
    config = TrainConfig.from_json(about.run.config["settings"])
    if format_ == "peft" and config.changes_base:
        raise TrainingRefused(
            f"{run_name} trained the model's own weights and has no adapter. Use --format safetensors."
        )
    if format_ != "peft" and config.method in merge.VIRTUAL:
        raise TrainingRefused(
            f"{run_name} trained virtual tokens, which can't be merged into weights. Use --format peft."
        )
    if format_ == "gguf":
        gguf_writer.described(about.base.config, about.base.tokenizer)  # may refuse, before anything is loaded
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    say("loading the trained model")
    model = merge.adapted(about.base, about.folder, device_of())
    replies = InTransformers(model).replies(_prompts(db, about), about.base.chat_format.end_ids)
    with whole_folder(out) as new:
        say("writing")
        _write(about, model, format_, dtype, new)
        del model
        say("loading it again")
        checks = _checked(about, format_, new, replies, llama_cpp)
        (new / "README.md").write_text(_card(db, paths, about, format_, checks), encoding="utf-8")
    return checks


def vacant(out: Path) -> Path:
    """The absolute path of a new or empty folder. Raises `TrainingRefused` for any other."""
    out = out.expanduser().absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise TrainingRefused(f"{out} exists already. Give --out a new folder.")
    return out


def subject(db: Database, paths: Paths, run_name: str) -> Subject:
    """A finished run. Raises `TrainingRefused` if it isn't finished, or its files or base have changed."""
    run = runs.get(db, run_name)
    if run.state != "finished":
        raise TrainingRefused(f"{run.name} is {run.state}: there is nothing to export. Train it to its end.")
    base = base_of(paths, run)
    folder, _ = trainable.made_by(paths, run)
    return Subject(run, folder, datasets.by_id(db, run.dataset_id), base)


def _examples(db: Database, about: Subject) -> list[Example]:
    """Examples of the test part; general text if it was deleted."""
    stored = datasets.examples(db, about.dataset.id, "test") if about.dataset else ()
    found = [Example.from_json(one.body) for one in stored]
    if found:
        return found
    paragraphs = forgetting.PROBE.read_text(encoding="utf-8").split("\n\n")[: greedy.PROMPTS]
    return [Example((Message("user", one[:300]), Message("assistant", "")), frozenset()) for one in paragraphs]


def _prompts(db: Database, about: Subject) -> list[list[int]]:
    limit = min(about.base.context_tokens, LONGEST_TOKENS)
    found = greedy.prompts(about.base.chat_format, _examples(db, about), limit)
    if not found:
        raise TrainingRefused("No example of the test part fits the model's context: nothing can be compared.")
    return found


def _write(about: Subject, model: Any, format_: str, dtype: torch.dtype, new: Path) -> None:
    if format_ == "peft":
        for file in about.folder.iterdir():
            shutil.copyfile(file, new / file.name)
        return
    whole = merge.rounded(merge.merged(model), dtype)
    if format_ == "gguf":
        gguf_writer.write(new / f"{about.run.name}.gguf", whole, about.base.tokenizer, about.run.name)
        text = modelfile(f"{about.run.name}.gguf", about.base.tokenizer, about.base.context_tokens)
        (new / "Modelfile").write_text(text, encoding="utf-8")
        return
    save_model(whole, about.base, new)


def save_model(model: Any, base: Base, folder: Path) -> None:
    """Write a transformers model as a folder, with its base's tokenizer and generation config."""
    model.save_pretrained(folder)
    base.tokenizer.save_pretrained(folder)
    ends = base.folder / "generation_config.json"
    if ends.is_file():
        shutil.copyfile(ends, folder / ends.name)


def _checked(about: Subject, format_: str, new: Path, replies: Sequence[Reply], llama_cpp: str) -> list[Checked]:
    if format_ == "peft":
        return [loaded_again.by_peft(new, about.base, replies)]
    if format_ == "safetensors":
        return [loaded_again.by_transformers(new, about.base, replies)]
    file = new / f"{about.run.name}.gguf"
    ours = loaded_again.by_our_reader(file, about.base, replies)
    python = llama_cpp or (sys.executable if importlib.util.find_spec("llama_cpp") else "")
    return [ours, loaded_again.by_llama_cpp(python, file, about.base, replies)] if python else [ours]


def _card(db: Database, paths: Paths, about: Subject, format_: str, checks: Sequence[Checked]) -> str:
    base = catalogue.find(paths, about.run.model)
    assert isinstance(base, catalogue.InstalledModel)  # it was opened before
    evaluation = runs.evaluation(db, about.run.id)
    told = evaluation.report if evaluation and evaluation.adapter_hash == about.run.adapter_hash else None
    counts = datasets.counts(db, about.dataset.id) if about.dataset else {}
    return model_card.card(about.run, base, format_, about.dataset, counts, told, [one.as_json() for one in checks])
