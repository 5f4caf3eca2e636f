"""How many conversations are enough: the change in perplexity and its interval, by the number of conversations.

python -m benchmarks.dose --corpus FILE [--corpus FILE ...] [--doses 10,30,100,300,1000] [--seeds 0] [--out dose.jsonl]
python -m benchmarks.dose --table [--out dose.jsonl]

A corpus is as in benchmarks/sweep.py. Some 24,000 tokens of it are kept apart, the same for every dose and seed. From
the rest as many conversations are drawn as the dose says and split as `finetune data` splits them; the default model
learns the training part three times, or 60,000 tokens of it. Base and adapter are then compared on the test part, as
`finetune eval` does, and on what was kept apart. A quarter as long a training follows: it shows how the spread depends
on the size of the change. The sums of each conversation are added to the file line by line, and what is there already
isn't measured again. `--table` prints what they show.
"""

import argparse
import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.engine_runs import headline, model_path
from benchmarks.sweep import Bench, candidates, sums, within

EPOCHS, MOST_TOKENS = 3, 60_000
SETTINGS = {"learning_rate": 1e-3, "tokens_per_step": 1024, "schedule": "cosine"}
APART_TOKENS = 24_000
LENGTHS = {"whole": 1.0, "quarter": 0.25}
"""Of a training."""


def apart(corpus: str, tokenizer: Any) -> tuple[list[Any], list[int], list[Any]]:
    """(rows that are kept apart, the group of each, the candidates that doses are drawn from)."""
    from finetune.on_test import rows_of_test
    from finetune.split import Seen, grouped

    found = candidates(corpus)
    groups = list(grouped(found, Seen()).groups.values())
    random.Random("apart").shuffle(groups)
    kept = [(number, place) for number, group in enumerate(groups[: len(groups) // 4]) for place in group]
    rows = list(rows_of_test("supervised", [found[place].example for _, place in kept], tokenizer).items)
    items = within(rows, APART_TOKENS)
    return (
        items,
        [number for number, _ in kept[: len(items)]],
        [found[p] for g in groups[len(groups) // 4 :] for p in g],
    )


def drawn(pool: list[Any], dose: int, seed: int) -> list[Any]:
    """Candidates of so many conversations, by chance."""
    names = sorted({one.conversation for one in pool})
    chosen = set(random.Random(f"dose {seed}").sample(names, min(dose, len(names))))
    return [one for one in pool if one.conversation in chosen]


def parts(some: list[Any], seed: int) -> dict[str, list[Any]]:
    """The examples of each part as `finetune data` splits them, with the group of each of the test part."""
    from finetune.split import split

    found: dict[str, list[Any]] = {"train": [], "validation": [], "test": [], "groups": []}
    for one, part, group in split(some, None, seed).placed:
        found[part].append(one.example)
        found["groups"] += [group] if part == "test" else []
    return found


def measured(corpus: str, doses: list[int], seeds: list[int], done: set[str]) -> Iterator[dict[str, Any]]:
    """The sums of each dose, seed and length of training that isn't done."""
    from finetune.model import Base

    base = Base.open(model_path())
    items, groups, pool = apart(corpus, base.tokenizer_of_rows())
    for dose, seed in itertools.product(doses, seeds):
        left = [
            (of, share)
            for length, share in LENGTHS.items()
            if key(of := {"corpus": Path(corpus).name, "dose": dose, "seed": seed, "length": length}) not in done
        ]
        if not left:
            continue
        some = drawn(pool, dose, seed)
        bench = Bench(base, parts(some, seed))
        asked = {"test": bench.asked["held out"], "apart": (items, groups)}
        epoch = sum(len(row.ids) for rows in bench.train.items for row in rows)
        conversations = len({one.conversation for one in some})
        for of, share in left:
            both, told = bench.trained(SETTINGS, round(min(EPOCHS * epoch, MOST_TOKENS) * share))
            found = {name: [*sums(both, rows), numbers] for name, (rows, numbers) in asked.items()}
            yield {"of": of, "drawn": conversations, **told, **found}


def key(of: dict[str, Any]) -> str:
    """What names a line of the results."""
    return json.dumps(of, sort_keys=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", action="append", default=[])
    parser.add_argument("--doses", default="10,30,100,300,1000")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--out", type=Path, default=Path("dose.jsonl"))
    given = parser.parse_args()
    headline()
    lines = given.out.read_text(encoding="utf-8").splitlines() if given.out.exists() else []
    results = [json.loads(line) for line in lines]
    doses, seeds = (list(map(int, one.split(","))) for one in (given.doses, given.seeds))
    for corpus in given.corpus:
        for one in measured(corpus, doses, seeds, {key(result["of"]) for result in results}):
            with given.out.open("a", encoding="utf-8") as out:
                out.write(json.dumps(one) + "\n")
            print(one["of"], one["steps"], one["train_s"], flush=True)


if __name__ == "__main__":
    main()
