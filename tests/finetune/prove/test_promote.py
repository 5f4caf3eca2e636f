"""What may be promoted, what may be overruled, and the way back."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from peft import LoraConfig, get_peft_model
from safetensors.torch import load, save
from sqlite_utils import Database
from transformers import AutoModelForCausalLM

from assistant.adapters.folder import AdapterFolder
from assistant.errors import StoreError, TrainingRefused
from assistant.paths import Paths
from assistant.store.training import adapters, datasets, runs
from finetune.cli.group import top
from finetune.progress import from_line
from finetune.prove import objections, promote
from finetune.prove.paired import Measure
from tests.finetune.conftest import TINY

BETTER = Measure("perplexity", "perplexity", 30.0, 20.0, -0.33, -0.4, -0.2, True, True, True, 40, 20)
KEPT = Measure("forgetting", "general text", 20.0, 20.1, 0.005, -0.01, 0.02, True, True, False, 40, 40)
VOTES = Measure("votes", "you preferred", 0.2, 0.8, 0.3, 0.1, 0.4, False, False, False, 20, 20)


def report(*measures: Measure, leaked: int = 0) -> dict[str, Any]:
    found = [{"kind": "email", "number": at} for at in range(leaked)]
    return {
        "measures": [one.as_json() for one in measures],
        "memorised": {"probes": 12, "canaries": 2, "leaked": found},
    }


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (report(BETTER, KEPT, VOTES), ""),
        (report(replace(BETTER, high=0.01), KEPT), "not shown to be better"),
        (report(replace(BETTER, low=0.1, high=0.3), KEPT), "not shown to be better"),
        (report(replace(BETTER, groups=3), KEPT), "3 conversations, too few"),
        (report(KEPT), "Nothing could be measured"),
        (report(BETTER), "Forgetting was not measured"),
        (report(BETTER, replace(KEPT, difference=0.011)), "forgets"),
        (report(BETTER, KEPT, replace(VOTES, adapted=0.3, low=-0.4, high=-0.05)), "You preferred the base"),
        (report(BETTER, KEPT, leaked=1), "1 of 12 probes"),
    ],
)
def test_what_speaks_against_it(told: Mapping[str, Any], reason: str) -> None:
    found = objections.verdicts(told)
    assert (reason in " ".join(found)) and bool(found) == bool(reason)


@pytest.fixture
def sea(db: Database, home: Paths, tiny_folder: Path) -> runs.Run:
    """A finished run with a registered adapter of the tiny model, saved by PEFT, that changes what is said."""
    model = AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    folder = home.adapters / "sea-1"
    adapted.save_pretrained(folder, save_embedding_layers=False)
    dataset = datasets.add(db, "sea", "supervised", "d", {}, {}, [])
    base_hash = promote.weights_hash(home, TINY)
    run = runs.add(db, "sea", dataset.id, "d", TINY, base_hash, {})
    hash_ = AdapterFolder.open(folder).hash
    runs.set_result(db, run.id, {"adapter": "sea-1"}, hash_)
    runs.set_state(db, run.id, "finished")
    adapters.add(db, hash_, "sea-1", run.id, TINY, base_hash, {"dataset": {"name": "sea"}})
    return runs.get(db, run.name)


def finetune(*arguments: str) -> dict[str, Any]:
    """The JSON object on the last line of what a command printed, after its lines of progress."""
    ran = CliRunner().invoke(top, [*arguments, "--json"], catch_exceptions=False, standalone_mode=False)
    *progress, line = ran.output.splitlines()
    assert all(from_line(one) for one in progress)
    told: dict[str, Any] = json.loads(line)
    return told


def test_promoted_overruled_and_taken_back(db: Database, sea: runs.Run) -> None:
    with pytest.raises(TrainingRefused, match="never compared"):
        finetune("promote", sea.name)
    runs.add_evaluation(db, sea.id, "9" * 64, report(BETTER, KEPT))
    with pytest.raises(TrainingRefused, match="of other files"):
        finetune("promote", sea.name)
    runs.add_evaluation(db, sea.id, sea.adapter_hash, report(BETTER, replace(KEPT, difference=0.03)))
    with pytest.raises(TrainingRefused, match=r"went up by 3\.0%, more than 1\.0%.*--anyway"):
        finetune("promote", sea.name)
    assert adapters.in_use(db, TINY) is None
    assert finetune("promote", sea.name, "--forgetting", "0.05")["reasons"] == []
    assert finetune("rollback", "--model", TINY) == {"model": TINY, "adapter": "", "adapter_hash": "", "trouble": ""}
    with pytest.raises(StoreError, match="used without an adapter: there is nothing to take back"):
        finetune("rollback", "--model", TINY)
    told = finetune("promote", sea.name, "--anyway")
    assert told["adapter"] == "sea-1" and told["anyway"] and "forgets" in told["reasons"][0]
    (one,) = finetune("adapters")["adapters"]
    assert one["in_use"] and one["dataset"] == "sea" and one["proof"]["verdict"] == "better"
    kept = adapters.history(db, TINY)[0]
    assert kept.anyway and "went up by 3.0%" in kept.reasons
    assert [one["action"] for one in finetune("adapters")["history"]] == ["promote", "rollback", "promote"]


def test_what_replies_can_not_be_made_with_is_never_promoted(db: Database, home: Paths, sea: runs.Run) -> None:
    runs.add_evaluation(db, sea.id, sea.adapter_hash, report(BETTER, KEPT))
    folder = home.adapters / "sea-1"

    def refused() -> str:
        with pytest.raises(TrainingRefused) as error:
            finetune("promote", sea.name, "--anyway")
        return str(error.value)

    (folder / "optimizer.pt").write_bytes(b"\x80\x04")
    assert "optimizer.pt, which is pickle" in refused()
    (folder / "optimizer.pt").unlink()
    weights = folder / "adapter_model.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    assert "files were changed" in refused()
    broken = {name: one * float("nan") for name, one in load(kept).items()}
    weights.write_bytes(save(broken))
    assert "with NaN or infinite numbers: the training failed" in refused()
    weights.write_bytes(kept)
    adapters.add(db, sea.adapter_hash, "sea-1", sea.id, TINY, "e" * 64, {})
    assert "made for other weights" in refused()
    adapters.add(db, sea.adapter_hash, "sea-1", sea.id, TINY, sea.base_hash, {})
    finetune("promote", sea.name)
    folder.rename(home.data / "elsewhere")
    assert "is gone" in refused()
    for name in ("nothing", runs.add(db, "half", sea.dataset_id or 0, "d", TINY, "b", {}).name):
        with pytest.raises(TrainingRefused, match="no adapter"):
            finetune("promote", name)
