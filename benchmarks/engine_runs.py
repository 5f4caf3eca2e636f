"""Shared by the engine's benchmarks: model, machine description, interleaved rounds, tables, and other programs."""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from assistant.engine.engine import Engine
from assistant.engine.formats import weights
from assistant.engine.generate.sampling import Sampling
from assistant.engine.generate.schedule import alone
from assistant.engine.hardware.machine import cpu_flags, share_cores
from assistant.engine.models import catalogue, fetch, model_folder
from assistant.engine.request import Chat
from assistant.events import Event
from assistant.paths import Paths
from prompts.message import Message

share_cores()
FLAGS = ("amx_tile", "amx_bf16", "avx512_bf16", "avx512_vnni", "avx2")


def model_path(name: str = catalogue.DEFAULT) -> Path:
    """The default model's folder, pulled once into the cache of the tests, or a given folder or GGUF file's."""
    if Path(name).is_dir():
        return Path(name)
    cache = Path(os.environ.get("ASSISTANT_TEST_CACHE", Path.home() / ".cache" / "assistant-tests"))
    if (file := Path(name)).is_file():
        folder = cache / "benchmarks" / file.stem
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.gguf").unlink(missing_ok=True)
        (folder / "model.gguf").symlink_to(file.resolve())
        return folder
    paths = Paths(cache / "config", cache / "data").create()
    fetch.pull(paths, catalogue.known(name), lambda _: None, lambda: False)
    return paths.models / name


def headline() -> None:
    """Print machine and date."""
    flags = " ".join(flag for flag in FLAGS if flag in cpu_flags())
    cpu = next((line.split(":")[1].strip() for line in _cpu_lines() if line.startswith("model name")), "")
    threads, load = torch.get_num_threads(), os.getloadavg()[0]
    print(f"{time.strftime('%Y-%m-%d')}  {cpu or platform.machine()} ({flags}), {threads} threads, load {load:.1f}")
    print(f"Python {platform.python_version()}, torch {torch.__version__}\n")


def _cpu_lines() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def chat(
    engine: Engine, messages: Sequence[Message], sampling: Sampling, adapter: Path | None = None
) -> Generator[Event]:
    """The reply of an engine that has nothing else to do."""
    return alone(engine.steps(Chat(messages, sampling, adapter=adapter)), engine.run)


def seconds(act: Callable[[], Any]) -> float:
    """Duration of one call."""
    began_s = time.perf_counter()
    act()
    return time.perf_counter() - began_s


def in_turn(acts: Mapping[str, Callable[[], Sequence[float]]], rounds: int) -> dict[str, list[float]]:
    """Durations of each of `acts`, which are interleaved so that all see the same machine."""
    took: dict[str, list[float]] = {name: [] for name in acts}
    for _ in range(rounds):
        for name, act in acts.items():
            took[name] += act()
    return took


def table(title: str, took: Mapping[str, Sequence[float]], per: float, unit: str, base: str) -> None:
    """Print medians, as `per` divided by seconds, and ratios to `base`."""
    print(f"{title:<44}{unit:>12}{'x ' + base:>22}")
    median = {name: statistics.median(values) for name, values in took.items() if values}
    for name, one in median.items():
        ratio = f"{median[base] / one:.2f}" if base in median else "-"
        print(f"  {name:<42}{per / one:>12.1f}{ratio:>22}")
    print(flush=True)


def transformers_model(folder: Path, dtype: torch.dtype) -> Any:
    """A transformers model with the same weights."""
    return weights.load(model_folder.ready(folder, lambda _: None), dtype, torch.device("cpu"))


PEER = """
import json, sys, time
from llama_cpp import Llama
file, contexts, count, threads = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
n_ctx = max(contexts) + count + 8
llm = Llama(file, n_ctx=n_ctx, n_threads=threads, n_threads_batch=threads, n_batch=512, verbose=False)
out = {}
for context in contexts:
    llm.reset()
    ids = [100 + i * 7 % 20000 for i in range(context)]
    began = time.perf_counter()
    llm.eval(ids)
    prefill, steps = time.perf_counter() - began, []
    for i in range(count):
        began = time.perf_counter()
        llm.eval([200 + i])
        steps.append(time.perf_counter() - began)
    out[context] = {"prefill_s": prefill, "step_s": steps}
print(json.dumps(out))
"""


def llama_cpp(folder: Path, context: int, count: int) -> dict[str, Any] | None:
    """Seconds of a prefill and of each token after it; None without llama-cpp-python or the model's GGUF.

    `LLAMACPP_PYTHON`: interpreter that has it, if this one doesn't.
    """
    python = os.environ.get("LLAMACPP_PYTHON", sys.executable)
    files = sorted(folder.glob("*.gguf"))
    if not files:
        return None
    command = [python, "-c", PEER, str(files[0]), json.dumps([context]), str(count), str(torch.get_num_threads())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])[str(context)]
    return found
