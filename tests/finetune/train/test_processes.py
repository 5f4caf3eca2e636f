"""Several processes, as `accelerate launch` starts them on GPUs by torchrun, train what one process does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file
from sqlite_utils import Database

from assistant.paths import Paths
from assistant.store.training import runs
from tests.finetune.conftest import TINY, freeze

SETTINGS = "--precision=float32 --rank=4 --tokens-per-step=512 --block-tokens=64 --steps=4 --learning-rate=0.005 --json"


@pytest.mark.slow
def test_two_processes_train_what_one_does(db: Database, home: Paths) -> None:
    freeze(db)
    command = ["finetune", "train", "--data=data", f"--model={TINY}", *SETTINGS.split()]
    launch = ["torch.distributed.run", "--nproc_per_node=2", "--master_port=29712"]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "1",
        "PYTHONPATH": str(Path(__file__).parents[3]),
    }
    for program in (["-m", *command], ["-m", *launch, "-m", *command]):
        done = subprocess.run([sys.executable, *program], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        assert sum('"stepped"' in line for line in done.stdout.splitlines()) == 4
    assert [runs.get(db, name).result["processes"] for name in ("data-1", "data-2")] == [1, 2]
    one, two = (runs.points(db, runs.get(db, name).id) for name in ("data-1", "data-2"))
    assert [figures["loss"] for _, figures in two] == pytest.approx([figures["loss"] for _, figures in one], rel=1e-4)
    weights = [load_file(home.adapters / name / "adapter_model.safetensors") for name in ("data-1", "data-2")]
    for name, tensor in weights[0].items():
        assert (tensor - weights[1][name]).abs().max() < 2e-3, name
