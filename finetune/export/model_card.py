"""README.md of an export: a model card with the front matter that the Hugging Face hub reads."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from assistant.engine.models import catalogue
from assistant.engine.models.catalogue import Hub, InstalledModel
from assistant.errors import ModelUnknown
from assistant.store.training.datasets import Dataset
from assistant.store.training.runs import Run
from finetune.config import TrainConfig
from finetune.prove.report import tables

LIBRARIES = {"peft": "peft", "safetensors": "transformers", "gguf": "gguf"}


def card(
    run: Run,
    base: InstalledModel,
    format_: str,
    dataset: Dataset | None,
    counts: Mapping[str, int],
    evaluation: Mapping[str, Any] | None,
    checks: Sequence[Mapping[str, Any]],
) -> str:
    """The card: base, data, training, results, and comparisons of this format."""
    licence, source = licence_of(base), source_of(base)
    top = {"library_name": LIBRARIES[format_], "tags": ["finetuned", run.config["settings"]["method"]]}
    if licence:
        top["license"] = licence.lower()
    if isinstance(source, Hub):
        top["base_model"] = source.repository
    sections = [
        f"---\n{yaml.safe_dump(top, sort_keys=False)}---",
        f"# {run.name}",
        f"{run.model}, retrained with {run.config['settings']['method']}.",
        "## Base",
        _list(
            {
                "model": run.model,
                "from": source.repository if isinstance(source, Hub) else base.source or "a local folder",
                "licence": licence or "unknown: check the origin of the base before you pass this on",
                "SHA-256": run.base_hash,
            }
        ),
        "## Data",
        _list(_data(run, dataset, counts)),
        "## Training",
        _list(_settings(TrainConfig.from_json(run.config["settings"])) | run.config["shape"]),
        _list({key: value for key, value in run.result.items() if key != "weights"}),
        "## Results",
        _results(evaluation),
        "## This form",
        _checks(checks),
        "## Lineage",
        _list({"run": run.name, "adapter": run.adapter_hash or "none: the base's own weights were trained"}),
    ]
    return "\n\n".join(sections) + "\n"


def licence_of(base: InstalledModel) -> str:
    """Licence by the manifest or the catalogue; empty if unknown."""
    if base.licence:
        return base.licence
    with contextlib.suppress(ModelUnknown):
        return catalogue.known(base.name).licence
    return ""


def source_of(base: InstalledModel) -> Any:
    """Source in the catalogue; None for an unknown model."""
    with contextlib.suppress(ModelUnknown):
        return catalogue.known(base.name).source
    return None


def _data(run: Run, dataset: Dataset | None, counts: Mapping[str, int]) -> dict[str, Any]:
    if dataset is None:
        return {"dataset": "deleted since", "SHA-256": run.dataset_hash}
    return {"dataset": dataset.name, "kind": dataset.kind, "SHA-256": dataset.hash, **counts}


def _settings(config: TrainConfig) -> dict[str, Any]:
    """The settings with defaults filled in."""
    return {**config.as_json(), "alpha": config.alpha or 2 * config.rank}


def _results(evaluation: Mapping[str, Any] | None) -> str:
    if evaluation is None:
        return "Not compared with its base yet."
    head = ["measure", "base", "adapter", "difference (95 %)", "examples", "verdict"]
    rows = [tables.marked(one) for one in evaluation["measures"]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def _checks(checks: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        f"- loaded again with {one['with']}: {one['equal_tokens']} of {one['tokens']} greedy tokens, "
        f"{one['equal_replies']} of {one['prompts']} replies equal those of the adapted model in float32"
        for one in checks
    ]
    return "\n".join(lines)


def _list(fields: Mapping[str, Any]) -> str:
    return "\n".join(f"- {key.replace('_', ' ')}: {_said(value)}" for key, value in fields.items())


def _said(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value in ("", None) else str(value)
