"""Speed of the store: storing a message, opening 5,000 messages, paging 10 and 10,000 conversations.

python benchmarks/store.py [--runs 5]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from assistant.store import conversations, messages
from assistant.store.database import open_database
from assistant.store.messages import Outcome, Provenance

MADE = Provenance("model", "plain", "hash", "template", {"temperature": 0.7}, 1)
DONE = Outcome(token_ids=list(range(60)), logprobs=[-0.5] * 60)


def median_ms(act: Callable[[], object], runs: int) -> float:
    taken = []
    for _ in range(runs):
        started = time.perf_counter()
        act()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "log.db"
        db = open_database(file)
        one = conversations.create(db, model="m").id
        parent: int | None = None

        def exchange() -> None:
            nonlocal parent
            user = messages.add_user(db, one, parent, "A question of some length, as people ask them. " * 2)
            parent = messages.begin_reply(db, one, user, MADE)
            messages.end_reply(db, parent, "An answer of some length. " * 12, "complete", DONE)

        store_ms = median_ms(exchange, 2500) / 2
        leaf = parent or 0
        path_ms = median_ms(lambda: messages.path_with_siblings(db, leaf), runs)
        pages = {}
        for count in (10, 10_000):
            while conversations.count(db) < count:
                conversations.title_from(db, conversations.create(db, model="m").id, "Travel plans 旅行计划")
            pages[count] = median_ms(lambda: conversations.page(db, 0, 50), runs)
        middle_ms = median_ms(lambda: conversations.page(db, 5000, 50), runs)
        search_ms = median_ms(lambda: conversations.page(db, 0, 50, "旅行"), runs)
        db.close()
        open_ms = median_ms(lambda: open_database(file).close(), runs)
    print(f"store a message             {store_ms:8.2f} ms")
    print(f"read a path of 5,000        {path_ms:8.2f} ms")
    print(f"open a log of 10,000        {open_ms:8.2f} ms")
    print(f"first page of 10            {pages[10]:8.2f} ms")
    print(f"first page of 10,000        {pages[10_000]:8.2f} ms   ratio {pages[10_000] / pages[10]:.1f}")
    print(f"a page in the middle        {middle_ms:8.2f} ms")
    print(f"search 10,000 titles        {search_ms:8.2f} ms")


if __name__ == "__main__":
    main()
