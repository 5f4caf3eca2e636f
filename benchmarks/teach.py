"""Corrections taught one by one: whether they are said, in other words too, and what else changes.

python -m benchmarks.teach [--home FOLDER] [--first N] [--count N] [--unrelated N] [--out results.jsonl]
    [--at-once] [--set steps=24 ...]

Each of `data/corrections.jsonl` contradicts the default model. The home's log gets a conversation for each correction,
and the first 60 questions of the wheel chatterbot-corpus as other conversations. Then each correction is taught as by
`finetune teach`, kept, and asked greedily in the chat's engine: as originally asked, and in three paraphrases of the
file that training never sees. A reply is right if it contains one of the file's answer words. At the end all are asked
again, and so are questions of chatterbot-corpus that aren't in the log: a reply counts as unchanged if its text is the
same, if it shares at least half of its words with the earlier reply (F1), or if their embeddings by all-minilm-l6-v2
have a cosine of at least 0.8. Each share is printed. A home with some corrections continues after them, so that a run
can be done in pieces.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlite_utils import Database

    from assistant.engine.engine import Engine

FILE = Path(__file__).parent / "data" / "corrections.jsonl"
MODEL = "smollm2-135m-instruct"
LOGGED = 60
"""Number of other conversations in the log."""
REPLY_TOKENS = 40
ALIKE, NEAR = 0.5, 0.8
"""Smallest F1 of the words, and smallest cosine of the embeddings, of replies that count as the same."""


def corrections() -> list[dict[str, Any]]:
    """Questions with a correction, three paraphrases, and words of which a right answer contains one."""
    return [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]


def other_questions() -> list[str]:
    """Distinct questions of chatterbot-corpus in random order."""
    import random

    import chatterbot_corpus  # type: ignore[import-untyped]
    import yaml

    folder = Path(chatterbot_corpus.__file__).parent / "data" / "english"
    said = [
        str(one[0]).strip()
        for file in sorted(folder.glob("*.yml"))
        for one in yaml.safe_load(file.read_text(encoding="utf-8"))["conversations"]
        if len(one) >= 2
    ]
    some = list(dict.fromkeys(one for one in said if len(one.split()) >= 3))
    random.Random(0).shuffle(some)
    return some


def logged(db: "Database", some: Sequence[tuple[str, str, str]]) -> list[int]:
    """Log conversations of (question, reply, correction or empty); returns the corrections' ids."""
    from assistant.store import conversations, messages
    from assistant.store.judgements import curation
    from assistant.store.messages import Outcome, Provenance

    ids = []
    for question, reply, correction in some:
        talk = conversations.create(db, model=MODEL, template="plain").id
        asked = messages.add_user(db, talk, None, question)
        made = messages.begin_reply(db, talk, asked, Provenance(MODEL, "plain", "plain", "", {}, None))
        messages.end_reply(db, made, reply, "complete", Outcome())
        if correction:
            ids.append(curation.correct(db, made, correction))
    return ids


def says(engine: "Engine", questions: Sequence[str], adapter: Path | None) -> list[str]:
    """Greedy replies, as in the chat."""
    from assistant.engine.generate.sampling import Sampling
    from assistant.events import Token
    from benchmarks.engine_runs import chat
    from prompts.message import Message

    greedy = Sampling(temperature=0.0, max_tokens=REPLY_TOKENS)
    return [
        "".join(
            one.text for one in chat(engine, [Message("user", asked)], greedy, adapter) if isinstance(one, Token)
        ).strip()
        for asked in questions
    ]


def is_right(one: dict[str, Any], reply: str) -> bool:
    return any(word in reply.lower() for word in one["answer"])


def unchanged(before: Sequence[str], after: Sequence[str]) -> dict[str, float]:
    """Shares of replies: same text, similar words, similar embeddings, and any of these."""
    from prompts.metrics import token_f1

    same = [one == other for one, other in zip(before, after, strict=True)]
    alike = [token_f1(one, other) >= ALIKE for one, other in zip(before, after, strict=True)]
    near = [one >= NEAR for one in _cosines(before, after)]
    either = [any(some) for some in zip(same, alike, near, strict=True)]
    named = {"same text": same, "words alike": alike, "embeddings near": near, "any of these": either}
    return {name: sum(some) / len(some) for name, some in named.items()}


def _cosines(before: Sequence[str], after: Sequence[str]) -> list[float]:
    import numpy as np

    from assistant.engine.models import catalogue
    from assistant.engine.networks.embedder import Embedder
    from benchmarks.engine_runs import model_path

    embedder = Embedder.load(model_path(catalogue.MEANING))
    one, other = ([np.asarray(embedder.embed(text or " ")[0]) for text in some] for some in (before, after))
    return [float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b))) for a, b in zip(one, other, strict=True)]


def main(arguments: Sequence[str] | None = None) -> int:
    from assistant.engine.engine import Engine
    from assistant.paths import Paths
    from assistant.store.database import open_database
    from assistant.store.training import adapters
    from benchmarks.engine_runs import headline, model_path

    given = _options(arguments)
    paths = Paths.from_environment().create()
    db = open_database(paths.database)
    engine = Engine.load(model_path())
    headline()
    some, others = corrections(), other_questions()
    in_log, unrelated = others[:LOGGED], others[LOGGED : LOGGED + given.unrelated]
    state = paths.data / "teach-benchmark.json"
    if not state.exists():
        replies = says(engine, [*(one["question"] for one in some), *in_log], None)
        fixed = [one["correction"] for one in some] + [""] * len(in_log)
        asked = [*(one["question"] for one in some), *in_log]
        ids = logged(db, list(zip(asked, replies, fixed, strict=True)))
        state.write_text(json.dumps({"ids": ids, "taught": 0, "before": says(engine, unrelated, None), "rows": []}))
    known = json.loads(state.read_text())

    def in_use() -> Path | None:
        found = adapters.in_use(db, MODEL)
        return paths.adapters / found.name if found else None

    begin, end = known["taught"], min(len(some), known["taught"] + given.count)
    for group in [range(begin, end)] if given.at_once else [range(at, at + 1) for at in range(begin, end)]:
        ids = [known["ids"][at] for at in group]
        known["rows"] += _taught(db, paths, engine, [some[at] for at in group], ids, given)
        known["taught"] = group[-1] + 1
        state.write_text(json.dumps(known))
    _summary(known, says(engine, [one["question"] for one in some[:end]], in_use()), some[:end])
    if given.unrelated:
        after = says(engine, unrelated, in_use())
        shares = unchanged(known["before"], after)
        print("unrelated unchanged: " + ", ".join(f"{name} {share:.0%}" for name, share in shares.items()))
        if given.show:
            for question, old, new in zip(unrelated, known["before"], after, strict=True):
                if old != new:
                    print(f"  {question!r}\n    {old!r}\n    {new!r}")
    print(f"general text against the base: {100 * _general(paths, in_use()):+.2f} %")
    db.close()
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20, help="Number of further corrections to teach.")
    parser.add_argument("--unrelated", type=int, default=100, help="Number of other questions to ask.")
    parser.add_argument("--at-once", action="store_true", help="Teach all corrections in one training.")
    parser.add_argument("--show", action="store_true", help="Print the replies that changed.")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="Set a field of finetune.teach.loop.Pace."
    )
    return parser.parse_args(arguments)


def _taught(
    db: "Database",
    paths: Any,
    engine: "Engine",
    some: Sequence[dict[str, Any]],
    ids: list[int],
    given: argparse.Namespace,
) -> list[dict[str, Any]]:
    from finetune.teach import course, decide
    from finetune.teach.loop import Pace

    said = dict(one.split("=", 1) for one in given.set)
    values = {name: type(getattr(Pace(), name))(float(text)) for name, text in said.items()}
    began_s = time.perf_counter()
    found = course.teach(db, paths, ids, MODEL, lambda _: None, pace=replace(Pace(), **values))
    took_s = time.perf_counter() - began_s
    assert found is not None
    decide.keep(db, paths, found.run)
    adapter = paths.adapters / found.run
    rows = []
    for one, asked in zip(some, found.asked, strict=True):
        replies = says(engine, [one["question"], *one["paraphrases"]], adapter)
        right = [is_right(one, text) for text in replies]
        figures = {"seconds": round(took_s, 1), "steps": found.steps, "general": round(100 * found.general_text, 2)}
        rows.append({"question": one["question"], "right": right, **figures})
        print(
            f"{took_s:5.1f} s {found.steps:3} steps  asked {'yes' if right[0] else 'NO '}  others {sum(right[1:])}/3  "
            f"frames {asked.reworded_right}/3  same {found.others - len(found.changed)}/{found.others}  "
            f"general {100 * found.general_text:+.2f} %  {one['question']}  ->  {replies[0][:60]!r}",
            flush=True,
        )
    return rows


def _summary(known: dict[str, Any], said: Sequence[str], some: Sequence[dict[str, Any]]) -> None:
    rows = known["rows"]
    print(f"\nright after teaching: {sum(one['right'][0] for one in rows)} of {len(rows)} as asked")
    print(f"paraphrases: {sum(sum(one['right'][1:]) for one in rows)} of {3 * len(rows)}")
    still = [is_right(one, text) for one, text in zip(some, said, strict=True)]
    print(f"still right in the end: {sum(still)} of {len(still)}")
    print(f"seconds: at most {max((one['seconds'] for one in rows), default=0)}")


def _general(paths: Any, adapter: Path | None) -> float:
    """Relative rise of the perplexity of general text."""
    from finetune.base import opened_base
    from finetune.data import forgetting
    from finetune.network.both import Both
    from finetune.prove.prove import forgetting_measure

    if adapter is None:
        return 0.0
    base = opened_base(paths, MODEL)
    rows = forgetting.rows(base.chat_format, base.context_tokens)
    return forgetting_measure(rows, Both.load(base, adapter)).difference


if __name__ == "__main__":
    sys.exit(main())
