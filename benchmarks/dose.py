"""Power of an evaluation: the change in perplexity and its interval, by the number of conversations.

python -m benchmarks.dose --corpus FILE [--corpus FILE ...] [--doses 10,30,100,300,1000] [--seeds 0] [--out dose.jsonl]
python -m benchmarks.dose --table [--out dose.jsonl]

Corpora are named as in benchmarks/sweep.py. About 24,000 tokens are held out, the same for every dose and seed. From
the rest `dose` conversations are drawn and split as by `finetune data`; the default model learns the training part
three times, or 20,000 tokens of it. Base and adapter are then compared on the test part, as by `finetune eval`, and on
the held-out conversations. A second training of a quarter of the length shows how the spread depends on the size of the
change. The sums of each conversation are appended to the file, and results in the file aren't measured again. `--table`
prints a summary.
"""

import argparse
import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from assistant.cli.output import print_table
from benchmarks.engine_runs import headline, model_path
from benchmarks.sweep import Bench, asked, candidates

EPOCHS, MOST_TOKENS = 3, 20_000
SETTINGS = {"learning_rate": 1e-3, "tokens_per_step": 1024, "schedule": "cosine", "assistant_only_loss": True}
APART_TOKENS = 24_000
LENGTHS = {"whole": 1.0, "quarter": 0.25}
"""Tokens of a training."""
HEADINGS = ("corpus", "drawn", "training", "steps", "test", "on the test part", "apart", "predicted", "needed")


class Corpus:
    """The held-out conversations of a corpus, and the rest, from which doses are drawn."""

    def __init__(self, name: str, base: Any) -> None:
        from finetune.data.split import Seen, grouped

        self.name = Path(name).name
        found = candidates(name)
        groups = list(grouped(found, Seen()).groups.values())
        random.Random("apart").shuffle(groups)
        at = len(groups) // 4
        kept = [(number, place) for number, group in enumerate(groups[:at]) for place in group]
        examples, numbers = [found[place].example for _, place in kept], [number for number, _ in kept]
        self.apart = asked(examples, numbers, base.tokenizer_of_rows(), APART_TOKENS)
        self._pool = [found[place] for group in groups[at:] for place in group]

    def drawn(self, dose: int, seed: int) -> list[Any]:
        """Candidates of `dose` conversations, drawn at random."""
        names = sorted({one.conversation for one in self._pool})
        chosen = set(random.Random(f"dose {seed}").sample(names, min(dose, len(names))))
        return [one for one in self._pool if one.conversation in chosen]


def parts(some: list[Any], seed: int) -> dict[str, list[Any]]:
    """Examples of each part, split as by `finetune data`, with the group of each test example."""
    from finetune.data.split import split

    found: dict[str, list[Any]] = {"train": [], "validation": [], "test": [], "groups": []}
    for one, part, group in split(some, None, seed).placed:
        found[part].append(one.example)
        found["groups"] += [group] if part == "test" else []
    return found


def measured(corpus: Corpus, base: Any, dose: int, seed: int, done: set[str]) -> Iterator[dict[str, Any]]:
    """Sums of one dose and seed after each length of training that isn't in `done`."""
    of = {"corpus": corpus.name, "dose": dose, "seed": seed}
    if all(key({**of, "length": length}) in done for length in LENGTHS):
        return
    some = corpus.drawn(dose, seed)
    bench = Bench(base, parts(some, seed))
    epoch = sum(len(row.ids) for rows in bench.train[False].items for row in rows)
    for length, share in LENGTHS.items():
        if key({**of, "length": length}) in done:
            continue
        trainee, told = bench.trained(SETTINGS, round(min(EPOCHS * epoch, MOST_TOKENS) * share))
        sums = {"test": bench.test.sums(trainee), "apart": corpus.apart.sums(trainee)}
        yield {"of": {**of, "length": length}, "drawn": len({one.conversation for one in some}), **told, **sums}


ORDERS = 15
"""Random orders of the held-out conversations, to count how many show a gain."""


def table(results: list[dict[str, Any]]) -> Iterator[list[str]]:
    """A row for each result: gain with interval on the test part, gain on held-out conversations, how many of these
    show a gain of that size, and how many were predicted from the test part alone.
    """
    from finetune.prove.paired import by_group, perplexity
    from finetune.prove.power import spread_of, to_test

    for one in results:
        test, apart = (perplexity("perplexity", "", *one[part], main=True) for part in ("test", "apart"))
        tokens = median(by_group(one["test"][2:3], one["test"][3])[:, 0].tolist())
        spread = spread_of([{"test": {"median_tokens": tokens}, "measures": [test.as_json()]}])
        predicted = to_test(spread, tokens, max(0.01, -apart.difference))
        of, interval = one["of"], f"{test.difference:+.0%} ({test.low:+.0%} to {test.high:+.0%})"
        yield [
            of["corpus"].partition(".")[0],
            str(one["drawn"]),
            of["length"],
            str(one["steps"]),
            str(test.groups),
            f"{interval} {test.verdict}",
            f"{apart.difference:+.0%}",
            str(predicted),
            needed(one["apart"]),
        ]


def needed(apart: list[list[Any]]) -> str:
    """Median number of conversations that show the gain, over random orders."""
    from finetune.data.split import FEWEST_TO_TEST
    from finetune.prove.paired import perplexity

    def shown(order: list[int], count: int) -> bool:
        chosen = set(order[:count])
        rows = [row for row in zip(*apart, strict=True) if row[3] in chosen]
        before, after, tokens, groups = zip(*rows, strict=True)
        return perplexity("", "", before, after, tokens, groups).verdict == "better"

    found, names = [], sorted(set(apart[3]))
    for seed in range(ORDERS):
        order = random.Random(seed).sample(names, len(names))
        counts = range(FEWEST_TO_TEST, len(order) + 1)
        found.append(next((count for count in counts if shown(order, count)), len(order) + 1))
    middle = sorted(found)[ORDERS // 2]
    return str(middle) if middle <= len(names) else f"> {len(names)}"


def key(of: dict[str, Any]) -> str:
    """Key of a result."""
    return json.dumps(of, sort_keys=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", action="append", default=[])
    parser.add_argument("--doses", default="10,30,100,300,1000")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--out", type=Path, default=Path("dose.jsonl"))
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    if given.table:
        rows = table([json.loads(line) for line in given.out.read_text(encoding="utf-8").splitlines()])
        print_table(list(rows), HEADINGS)
        return
    from finetune.base import Base

    headline()
    base = Base.open(model_path())
    lines = given.out.read_text(encoding="utf-8").splitlines() if given.out.exists() else []
    done = {key(json.loads(line)["of"]) for line in lines}
    corpora = [Corpus(name, base) for name in given.corpus]
    doses, seeds = (map(int, one.split(",")) for one in (given.doses, given.seeds))
    for dose, seed, corpus in itertools.product(doses, seeds, corpora):
        for one in measured(corpus, base, dose, seed, done):
            with given.out.open("a", encoding="utf-8") as out:
                out.write(json.dumps(one) + "\n")
            print(one["of"], one["steps"], one["train_s"], flush=True)


if __name__ == "__main__":
    main()
