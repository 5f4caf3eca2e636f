"""Search for good defaults: held-out perplexity and general text after trainings, by corpus, size, tokens and settings.

python -m benchmarks.sweep --table --out results.jsonl
python -m benchmarks.sweep --corpus FILE [--corpus FILE ...] [--sizes 30,300,0] [--tokens 54000,216000,810000]
    [--set learning_rate=1e-3,3e-3] [--set tokens_per_step=1024,2048] [--out results.jsonl]

A corpus is a file for `finetune data --file`, or `chatterbot:english`, `chatterbot:chinese` (the wheel
chatterbot-corpus). Sizes are numbers of conversations; 0: all. Tokens are used in place of minutes, so that the
machine's speed doesn't matter: 54,000 are one minute at 900 tokens/s. All combinations of --set values are tried.
Conversations are split 80/10/10 with near-duplicates together, as by `finetune data`. Results are appended to the file,
and results in the file aren't measured again.
"""

import argparse
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.engine_runs import headline, model_path

TESTED_TOKENS = 40_000
"""Tokens of the test part, for base and adapter each."""


def candidates(corpus: str) -> list[Any]:
    """All candidates of a corpus."""
    from finetune.data import example_files
    from finetune.data.example import Example
    from finetune.data.select import Candidate, Selection
    from prompts.message import Message

    if not corpus.startswith("chatterbot:"):
        return list(example_files.from_file(Path(corpus), Selection(everything=True), Counter()))
    import chatterbot_corpus
    import yaml

    found = []
    folder = Path(chatterbot_corpus.__file__).parent / "data" / corpus.partition(":")[2]
    for file in sorted(folder.glob("*.yml")):
        for number, said in enumerate(yaml.safe_load(file.read_text(encoding="utf-8"))["conversations"]):
            if len(said) >= 2:
                turns = Message("user", str(said[0])), Message("assistant", str(said[1]))
                found.append(Candidate(Example(turns, frozenset({1})), f"{file.name} {number}"))
    return found


def parts(corpus: str, size: int) -> dict[str, list[Any]]:
    """Examples of each part. `size`: conversations in the training part; other parts are complete."""
    from finetune.data.split import Shares, split

    found: dict[str, list[Any]] = {"train": [], "validation": [], "test": []}
    groups: dict[str, list[int]] = {"test": []}
    for one, part, group in split(candidates(corpus), Shares(), 0).placed:
        found[part].append(one.example)
        groups.setdefault(part, []).append(group)
    if size:
        found["train"] = found["train"][: size * 8 // 10]
        found["validation"] = found["validation"][: max(3, size // 10)]
    found["groups"] = groups["test"]
    return found


@dataclass
class Asked:
    """Rows for comparing base and adapter, with the group of each example. The base's losses are cached."""

    items: list[Any]
    groups: list[int]
    before: list[float] = field(default_factory=list)

    def sums(self, trainee: Any) -> list[list[Any]]:
        """[nats under the base, under the adapter, supervised tokens, group] of each example."""
        after = losses(trainee, self.items)
        if not self.before:
            with trainee.base():
                self.before = losses(trainee, self.items)
        return [self.before, after, [sum(row.supervised for row in rows) for rows in self.items], self.groups]


def asked(examples: list[Any], groups: list[int], tokenizer: Any, most_tokens: int) -> Asked:
    """The first examples with at most `most_tokens` tokens."""
    from finetune.prove.measures import rows_of_test

    items, tokens = list[Any](), 0
    for rows in rows_of_test("supervised", examples, tokenizer).items:
        if tokens < most_tokens:
            items.append(rows)
            tokens += sum(len(row.ids) for row in rows)
    return Asked(items, groups[: len(items)])


class Bench:
    """Lessons of a corpus at one size, and its test part."""

    def __init__(self, base: Any, examples: dict[str, list[Any]]) -> None:
        from finetune.data.lessons import lessons

        self.base, tokenizer = base, base.tokenizer_of_rows()
        self.train = {
            only: lessons("supervised", examples["train"], replace(tokenizer, questions=not only), 0)
            for only in (False, True)
        }
        """Lessons by assistant_only_loss."""
        self.validation = lessons("supervised", examples["validation"], tokenizer, 0)
        self.test = asked(examples["test"], examples["groups"], tokenizer, TESTED_TOKENS)

    def run(self, settings: dict[str, Any], tokens: int, general: Asked) -> dict[str, Any]:
        """Figures of one training."""
        from finetune.prove.paired import perplexity

        trainee, told = self.trained(settings, tokens)
        named = {"held out": self.test, "general text": general}
        return told | {name: perplexity(name, name, *one.sums(trainee)).as_json() for name, one in named.items()}

    def trained(self, settings: dict[str, Any], tokens: int) -> tuple[Any, dict[str, Any]]:
        """(trained model, figures of its training)."""
        import torch
        import transformers
        from accelerate import Accelerator

        from finetune import defaults, plan
        from finetune.config import TrainConfig
        from finetune.network import losses, trainable
        from finetune.network.trainee import precision_of
        from finetune.run_folder import RunFolder
        from finetune.train.trainer import Trainer

        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        cpu = torch.device("cpu")
        width = self.base.config.get_text_config(decoder=True).hidden_size
        config = defaults.suited(TrainConfig(patience=0, **settings), width, "supervised")
        config = replace(config, tokens_per_step=defaults.tokens_per_step(config, tokens))
        train = self.train[config.assistant_only_loss]
        shape = plan.shape(train, config, cpu)
        steps = max(1, round(tokens / shape.tokens_per_step))
        shape = replace(shape, steps=steps, validate_every=steps + 1)
        torch.manual_seed(0)
        model = trainable.prepare(self.base.load(precision_of("auto", cpu), cpu), config, steps, "base")
        objective, folder = losses.objective(train, [], config), RunFolder
        trainer = Trainer(
            Accelerator(cpu=True),
            model,
            config,
            shape,
            train,
            objective,
            self.validation,
            objective,
            folder,  # type: ignore[arg-type]
        )
        trainer.trainee.train()
        began_s = time.monotonic()
        for _, blocks in zip(range(steps), plan.steps_of_blocks(train, shape, 0, 0), strict=False):
            trainer._step(blocks)
        told = {"steps": steps, "train_s": round(time.monotonic() - began_s, 1)}
        return trainer.trainee.eval(), {**told, "conversations": len(train.examples)}


def losses(trainee: Any, items: list[Any]) -> list[float]:
    """Loss of each item, in nats."""
    import torch

    from finetune.network.both import sums_of

    return [-sum(one) for one in sums_of(trainee, items, torch.device("cpu"))]


def combinations(given: list[str]) -> Iterator[dict[str, Any]]:
    """All combinations of one value for each setting."""
    from finetune.config import TrainConfig

    kinds = {name: type(value) for name, value in TrainConfig().as_json().items()}
    options = [(name, values.split(",")) for name, _, values in (one.partition("=") for one in given)]
    for chosen in itertools.product(*(values for _, values in options)):
        yield {name: _value(kinds[name], value) for (name, _), value in zip(options, chosen, strict=True)}


def _value(kind: type, text: str) -> Any:
    return text == "True" if kind is bool else kind(text)


def table(file: Path) -> Iterator[str]:
    """Lines of a Markdown table of the results in a file."""
    yield "| corpus | conversations | tokens | settings | steps | held out | general text |"
    yield "|---|--:|--:|---|--:|--:|--:|"
    for line in file.read_text(encoding="utf-8").splitlines():
        found = json.loads(line)
        of, held, general = found["of"], found["held out"], found["general text"]
        settings = ", ".join(f"{name} {of[name]}" for name in of if name not in ("corpus", "size", "tokens"))
        row = (
            of["corpus"],
            f"{found['conversations']:,}",
            f"{of['tokens']:,}",
            settings or "as they come",
            found["steps"],
            f"{held['base']:.1f} → {held['adapted']:.1f} ({held['difference']:+.1%})",
            f"{general['difference']:+.1%}",
        )
        yield f"| {' | '.join(map(str, row))} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", action="append", default=[])
    parser.add_argument("--table", action="store_true", help="Print the results in --out as Markdown, measure nothing.")
    parser.add_argument("--sizes", default="0")
    parser.add_argument("--tokens", default="216000")
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--out", type=Path, default=Path("sweep.jsonl"))
    given = parser.parse_args()
    if given.table:
        print("\n".join(table(given.out)))
        return
    from finetune.base import Base
    from finetune.data import forgetting

    headline()
    base = Base.open(model_path())
    rows = forgetting.rows(base.chat_format, base.context_tokens)
    general = Asked(rows, list(range(len(rows))))
    lines = given.out.read_text(encoding="utf-8").splitlines() if given.out.exists() else []
    done = {json.dumps(json.loads(line)["of"], sort_keys=True) for line in lines}
    for corpus, size in itertools.product(given.corpus, map(int, given.sizes.split(","))):
        bench = None
        for tokens, settings in itertools.product(map(int, given.tokens.split(",")), combinations(given.settings)):
            of = {"corpus": Path(corpus).name, "size": size, "tokens": tokens, **settings}
            if json.dumps(of, sort_keys=True) in done:
                continue
            bench = bench or Bench(base, parts(corpus, size))
            found = bench.run(settings, tokens, general)
            with given.out.open("a", encoding="utf-8") as out:
                out.write(json.dumps({"of": of, **found}) + "\n")
            held, forgotten = found["held out"], found["general text"]
            print(
                f"{of}: {held['base']:.2f} -> {held['adapted']:.2f} ({held['difference']:+.1%}), general "
                f"{forgotten['difference']:+.1%}, {found['steps']} steps in {found['train_s']:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    sys.exit(main())
