"""Retention: how much of each corpus is kept when corpora are trained in a chain, each from the last adapter.

python -m benchmarks.again --corpus FILE --corpus FILE [--corpus FILE ...] [--rates 3e-4,1e-3,3e-3] [--tokens 49152]
    [--set replay_share=0.4] [--plain] [--home FOLDER] [--out again.jsonl]

Corpora are named as in benchmarks.sweep. Each is frozen as a dataset and trained by the code of `finetune train --from
NAME`, for `--tokens` tokens including replay. After each training the test parts of all corpora so far are measured, in
nats per token; a corpus's gain is the base's loss minus the adapter's. "Kept" is the gain after the last training in
percent of the gain after the corpus's own training. General text is that of `finetune eval`. --plain: without replay.
Adapters stay in --home, and results in --out aren't measured again.
"""

import argparse
import json
import math
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.engine_runs import headline, model_path
from benchmarks.sweep import candidates, combinations

TESTED_TOKENS = 12_000
"""Tokens of each corpus's test part."""
MODEL = "model"
GENERAL = "general text"


class Chain:
    """A log with a dataset for each corpus, and the rows to measure every adapter on."""

    def __init__(self, home: Path, corpora: list[str]) -> None:
        from assistant.engine.models import catalogue
        from assistant.paths import Paths
        from assistant.store.database import open_database
        from assistant.store.training import datasets
        from finetune.base import Base
        from finetune.data import forgetting

        self.paths = Paths(home / "config", home / "data").create()
        if MODEL not in catalogue.names(self.paths):
            catalogue.add_path(self.paths, MODEL, model_path())
        self.db = open_database(self.paths.database)
        self.base = Base.open(model_path())
        self.corpora = corpora
        known = {one.name for one in datasets.every(self.db)}
        for corpus in corpora:
            if name_of(corpus) not in known:
                self._freeze(corpus)
        self.asked = {name_of(one): self._test(name_of(one)) for one in corpora}
        self.asked[GENERAL] = list(forgetting.rows(self.base.chat_format, self.base.context_tokens))

    def _freeze(self, corpus: str) -> None:
        from finetune.data import dataset
        from finetune.data.dataset import Request
        from finetune.data.select import Selection

        request = Request(Selection(everything=True))
        made = dataset.made_of(
            self.db, request, candidates(corpus), Counter(), self.base.tokenizer_of_rows(), redactor=None
        )
        dataset.freeze(self.db, name_of(corpus), made)

    def _test(self, name: str) -> list[Any]:
        from assistant.store.training import datasets
        from finetune.data.example import Example
        from finetune.data.tokens import sampled
        from finetune.prove.measures import rows_of_test

        stored = datasets.examples(self.db, datasets.get(self.db, name).id, "test")
        examples = [Example.from_json(one.body) for one in stored]
        test = rows_of_test("supervised", examples, self.base.tokenizer_of_rows())
        return [test.items[place] for place in sampled(test.items, TESTED_TOKENS, 0)]

    def nats(self, adapter: str) -> dict[str, float]:
        """Nats per token of all measured texts, under an adapter, or the base with an empty name."""
        from finetune.network.both import Both, sums_of
        from finetune.network.trainee import Trainee, device_of, precision_of

        device = device_of()
        if adapter:
            both = Both.load(self.base, self.paths.adapters / adapter)
        else:
            both = Both(Trainee(self.base.load(precision_of("auto", device), device).eval()), device)
        found = {}
        for name, items in self.asked.items():
            total = sum(map(sum, sums_of(both.trainee, items, device)))
            found[name] = -total / sum(row.supervised for rows in items for row in rows)
        return found

    def train(self, corpus: str, start: str, settings: dict[str, Any], tokens: int) -> tuple[str, float]:
        """(run, seconds) of a training from the adapter `start`, or the base with an empty name."""
        from finetune.config import TrainConfig
        from finetune.train import run

        config = TrainConfig(patience=0, **settings)
        steps = max(1, round(tokens / config.tokens_per_step))
        config = TrainConfig.from_json({**config.as_json(), "steps": steps, "validate_every": steps})
        began_s = time.monotonic()
        done = run.begin(self.db, self.paths, name_of(corpus), MODEL, config, lambda _: None, start=start or "base")
        assert done is not None
        return done.name, time.monotonic() - began_s


def name_of(corpus: str) -> str:
    """Name of a corpus's dataset."""
    return Path(corpus.replace(":", "-")).stem.replace("_", "-")


def summary(stages: list[dict[str, Any]], base: dict[str, float]) -> str:
    """Gains of the earlier corpora with the share kept, the gain of the last, and the change of general text."""
    last, told = stages[-1]["nats"], []
    for stage in stages:
        name = stage["corpus"]
        first, now = base[name] - stage["nats"][name], base[name] - last[name]
        told.append(f"{name} {first:.3f}" + (f" kept {now / first:.0%}" if stage is not stages[-1] else ""))
    general = math.expm1(last[GENERAL] - base[GENERAL])
    return f"{', '.join(told)}, general text {general:+.1%}, {stages[-1]['seconds']:.0f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", action="append", required=True)
    parser.add_argument("--rates", default="3e-4,1e-3,3e-3")
    parser.add_argument("--tokens", type=int, default=49_152)
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--out", type=Path, default=Path("again.jsonl"))
    given = parser.parse_args()
    headline()
    home = given.home or Path(tempfile.mkdtemp())
    chain = Chain(home, given.corpus)
    lines = given.out.read_text(encoding="utf-8").splitlines() if given.out.exists() else []
    known = {json.dumps(one["of"], sort_keys=True): one for one in map(json.loads, lines)}

    def measured(of: dict[str, Any], work: Any) -> dict[str, Any]:
        key = json.dumps(of, sort_keys=True)
        if key not in known:
            known[key] = {"of": of, **work()}
            with given.out.open("a", encoding="utf-8") as out:
                out.write(json.dumps(known[key]) + "\n")
        return known[key]

    base = measured({"base": True, "of": sorted(chain.asked)}, lambda: {"nats": chain.nats("")})["nats"]
    for settings in combinations([f"learning_rate={given.rates}", *given.settings]):
        settings = {"tokens_per_step": 1024, "schedule": "cosine", **settings}
        if given.plain:
            settings["replay_share"] = 0.0
        stages: list[dict[str, Any]] = []
        for corpus in given.corpus:
            start = stages[-1]["run"] if stages else ""

            def work(corpus: str = corpus, start: str = start, settings: dict[str, Any] = settings) -> dict[str, Any]:
                run, took_s = chain.train(corpus, start, settings, given.tokens)
                return {"corpus": name_of(corpus), "run": run, "seconds": took_s, "nats": chain.nats(run)}

            relevant = settings if stages else {key: one for key, one in settings.items() if key != "replay_share"}
            of = {"start": start, "corpus": name_of(corpus), "tokens": given.tokens, **relevant}
            stages.append(measured(of, work))
            print(f"{settings}: {summary(stages, base)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
