"""Import and export speed of the log in messages a second, and peak memory, at two sizes.

python -m benchmarks.exchange [--messages 20000 200000] [--format sharegpt] [--dry-run]

Each import and export runs in its own process, to measure its own peak memory.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

EXPORTS = ("json", "openai", "sharegpt", "preference", "kto", "markdown", "html", "csv")
TURNS = 10
WORDS = [
    "the",
    "sea",
    "light",
    "keeper",
    "ship",
    "of",
    "rock",
    "storm",
    "and",
    "glass",
    "lamp",
    "oil",
    "what",
    "how",
    "because",
    "灯塔",
    "船",
    "海",
    "光",
    "为什么",
    "因为",
    "石头",
]


def text(rng: random.Random, mean_words: int) -> str:
    """Random English and Chinese words."""
    return " ".join(rng.choices(WORDS, k=max(2, int(rng.expovariate(1 / mean_words)))))


def sharegpt(rng: random.Random, number: int) -> dict[str, Any]:
    said = [
        {"from": "gpt" if turn % 2 else "human", "value": f"{number} {text(rng, 80 if turn % 2 else 20)}"}
        for turn in range(TURNS)
    ]
    return {"id": str(number), "conversations": said}


def chatgpt(rng: random.Random, number: int) -> dict[str, Any]:
    mapping: dict[str, Any] = {"root": {"id": "root", "message": None, "parent": None, "children": ["0"]}}
    for turn in range(TURNS):
        mapping[f"{number}-{turn}"] = {
            "id": f"{number}-{turn}",
            "parent": f"{number}-{turn - 1}" if turn else "root",
            "children": [f"{number}-{turn + 1}"],
            "message": {
                "id": f"{number}-{turn}",
                "author": {"role": "assistant" if turn % 2 else "user", "name": None, "metadata": {}},
                "create_time": 1.7e9 + number * 100 + turn,
                "update_time": None,
                "content": {"content_type": "text", "parts": [text(rng, 80 if turn % 2 else 20)]},
                "status": "finished_successfully",
                "weight": 1.0,
                "recipient": "all",
                "metadata": {"model_slug": "gpt-4o", "finish_details": {"type": "stop"}, "citations": []},
            },
        }
    return {
        "title": f"Talk {number}",
        "create_time": 1.7e9 + number * 100,
        "update_time": 1.7e9 + number * 100 + TURNS,
        "mapping": mapping,
        "current_node": f"{number}-{TURNS - 1}",
        "conversation_id": str(number),
    }


MADE = {"sharegpt": sharegpt, "chatgpt": chatgpt}


def make(file: Path, format_: str, messages: int) -> None:
    """Write a file of that format."""
    rng = random.Random(1)
    with file.open("w", encoding="utf-8") as out:
        for number in range(messages // TURNS):
            out.write(",\n" if number else "[")
            json.dump(MADE[format_](rng, number), out, ensure_ascii=False)
        out.write("]")


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def child(log: Path, act: str, what: str) -> None:
    """Run one import or export; print messages, seconds and peak memory."""
    from assistant.store.database import open_database, select
    from assistant.store.files.exports.exporter import export
    from assistant.store.files.imports.importer import import_file

    db = open_database(log)
    started = time.perf_counter()
    if act == "export":
        ids = [row[0] for row in select(db, "SELECT id FROM conversations ORDER BY id")]
        count = select(db, "SELECT count(*) FROM messages")[0][0]
        started = time.perf_counter()
        with (log.parent / "out").open("w", encoding="utf-8") as out:
            out.writelines(export(db, ids, what))
    else:
        count = import_file(db, Path(what), dry_run=act == "dry run").messages
    print(json.dumps([count, time.perf_counter() - started, peak_mb()]))


def run(log: Path, act: str, what: str) -> tuple[int, float, float]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.exchange", "--child", str(log), act, what],
        capture_output=True,
        text=True,
        check=True,
    )
    count, seconds, mb = json.loads(done.stdout)
    return count, seconds, mb


def figures(folder: Path, format_: str, messages: int) -> Iterator[tuple[str, int, float, float]]:
    file, log = folder / "made.json", folder / f"{messages}.db"
    make(file, format_, messages)
    print(f"{messages:,} messages in {file.stat().st_size / 1e6:.1f} MB of {format_}")
    for act in ("dry run", "import", "import again"):
        count, seconds, mb = run(log, act, str(file))
        yield act, count or messages, seconds, mb
    print(f"the log has {log.stat().st_size / 1e6:.1f} MB")
    for what in EXPORTS:
        yield f"export {what}", *run(log, "export", what)


def judge(log: Path) -> None:
    """Rate every tenth reply, so that preference and kto exports aren't empty."""
    from assistant.store.database import execute, open_database

    db = open_database(log)
    execute(
        db,
        "INSERT INTO judgements (message_id, rating) "
        "SELECT id, 1 FROM messages WHERE role = 'assistant' AND id % 5 = 0",
    )
    db.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, nargs="+", default=[20_000, 200_000])
    parser.add_argument("--format", choices=list(MADE), default="sharegpt")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(Path(given.child[0]), given.child[1], given.child[2])
        return
    for messages in given.messages:
        with tempfile.TemporaryDirectory() as folder:
            for act, count, seconds, mb in figures(Path(folder), given.format, messages):
                print(f"  {act:<20}{count / seconds:10,.0f} messages/s{seconds:9.2f} s{mb:8.0f} MB at the peak")
                if act == "import":
                    judge(Path(folder) / f"{messages}.db")


if __name__ == "__main__":
    main()
