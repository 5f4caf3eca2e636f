"""Seconds to load the default model after the first time, and memory beside its weights.

    python benchmarks/load.py [--runs 5]

Each run is a process of its own that has imported the engine. Memory is what is resident after loading and a reply of
128 tokens, less what was resident before loading, over the bytes of the weights in use.
"""

import argparse
import json
import statistics
import subprocess
import sys

from benchmarks.engine_runs import headline, model_path

RUN = """
import json, sys, time
from pathlib import Path
import psutil
from assistant.engine.engine import Engine
from assistant.engine import networks, model_folder, weights
from assistant.engine.llama.native import NativeLinear
from assistant.engine.sampling import Sampling
from prompts.message import Message
before = psutil.Process().memory_info().rss
began = time.perf_counter()
engine = Engine.load(Path(sys.argv[1]), dtype=sys.argv[2])
load_s = time.perf_counter() - began
list(engine.chat([Message("user", "Tell me a story of a whale.")], Sampling(max_tokens=128, seed=1)))
model = engine._model.network.model
held = {id(one): one.packed.nbytes for one in model.modules() if isinstance(one, NativeLinear)}
used = sum(held.values()) or sum(p.numel() * p.element_size() for p in model.parameters())
print(json.dumps({"load_s": load_s, "grown": psutil.Process().memory_info().rss - before, "weights": used}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    folder = model_path()
    headline()
    print(f"{'precision':<12}{'load':>8}{'weights':>12}{'resident':>12}{'ratio':>8}")
    for dtype in ("auto", "bfloat16", "float32"):
        rows = []
        for _ in range(runs + 1):
            done = subprocess.run(
                [sys.executable, "-c", RUN, str(folder), dtype], capture_output=True, text=True, check=True
            )
            rows.append(json.loads(done.stdout.splitlines()[-1]))
        rows = rows[1:]  # the first builds what is missing
        load_s, grown, used = (statistics.median(row[name] for row in rows) for name in ("load_s", "grown", "weights"))
        print(f"{dtype:<12}{load_s:>6.2f} s{used / 1e6:>9.0f} MB{grown / 1e6:>9.0f} MB{grown / used:>8.2f}")


if __name__ == "__main__":
    main()
