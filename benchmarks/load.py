"""Load time of a model after the first time, and memory in addition to its weights.

python -m benchmarks.load [--model FILE.gguf] [--runs 5]

Each run is a process that has imported the engine and what transformers imports to read a configuration. Memory is the
resident size after loading and a reply of 128 tokens minus that before loading, relative to the bytes of all tensors.
"""

import argparse
import json
import statistics
import subprocess
import sys

from assistant.engine.models import catalogue
from benchmarks.engine_runs import headline, model_path

RUN = """
import gc, json, sys, time
from pathlib import Path
import psutil, torch
from assistant.engine.engine import Engine
from assistant.engine.formats import weights
from assistant.engine.generate.sampling import Sampling
from assistant.engine.generate.schedule import alone
from assistant.engine.models import model_folder
from assistant.engine.request import Chat
from prompts.message import Message
folder = Path(sys.argv[1])
weights.read_config(model_folder.ready(folder, lambda _: None))
before = psutil.Process().memory_info().rss
began = time.perf_counter()
engine = Engine.load(folder, dtype=sys.argv[2])
load_s = time.perf_counter() - began
asked = Chat([Message("user", "Tell me a story of a whale.")], Sampling(max_tokens=128, seed=1))
list(alone(engine.steps(asked), engine.run))
engine._model.conversations.clear()
held = [one.untyped_storage() for one in gc.get_objects() if type(one) in (torch.Tensor, torch.nn.Parameter)]
used = sum({one.data_ptr(): one.nbytes() for one in held}.values())
print(json.dumps({"load_s": load_s, "grown": psutil.Process().memory_info().rss - before, "weights": used}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=catalogue.DEFAULT, help="a model folder or GGUF file, or a catalogue's name")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    runs, folder = arguments.runs, model_path(arguments.model)
    headline()
    print(f"{'precision':<12}{'load':>8}{'weights':>12}{'resident':>12}{'ratio':>8}")
    for dtype in ("auto", "bfloat16", "float32"):
        rows = []
        for _ in range(runs + 1):
            done = subprocess.run(
                [sys.executable, "-c", RUN, str(folder), dtype], capture_output=True, text=True, check=True
            )
            rows.append(json.loads(done.stdout.splitlines()[-1]))
        rows = rows[1:]  # the first run builds missing files
        load_s, grown, used = (statistics.median(row[name] for row in rows) for name in ("load_s", "grown", "weights"))
        print(f"{dtype:<12}{load_s:>6.2f} s{used / 1e6:>9.0f} MB{grown / 1e6:>9.0f} MB{grown / used:>8.2f}")


if __name__ == "__main__":
    main()
