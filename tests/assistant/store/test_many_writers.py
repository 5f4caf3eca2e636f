"""Eight programs that write into one log at once. For a minute: ASSISTANT_WRITERS_S=60 pytest -k many_writers."""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from assistant.store.database import check, open_database
from assistant.store.schema import derived

SECONDS = float(os.environ.get("ASSISTANT_WRITERS_S", "2"))

WRITER = """
import sys, time
from pathlib import Path
from assistant.store import conversations, messages
from assistant.store.judgements import curation
from assistant.store.database import open_database
from assistant.store.messages import Outcome, Provenance
made = Provenance("m", "plain", "h", "text", {"temperature": 0.7}, 1)
db = open_database(Path(sys.argv[1]))
until = time.monotonic() + float(sys.argv[3])
done, slowest = 0, 0.0
while time.monotonic() < until:
    began = time.monotonic()
    one = conversations.create(db).id
    user = messages.add_user(db, one, None, f"question {done} of {sys.argv[2]}")
    reply = messages.begin_reply(db, one, user, made)
    messages.grow_reply(db, reply, "half")
    messages.end_reply(db, reply, f"answer {done} 灯塔", "complete", Outcome(token_ids=[1, 2], logprobs=[-1.0, -2.0]))
    curation.rate(db, reply, 1 if done % 2 else -1)
    curation.tag(db, reply, "t")
    slowest = max(slowest, time.monotonic() - began)
    done += 1
print(done, slowest)
"""


@pytest.mark.slow
def test_eight_writers_lose_nothing_and_none_is_refused(file: Path) -> None:
    open_database(file).close()
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(file), str(number), str(SECONDS)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for number in range(8)
    ]
    done = []
    for writer in writers:
        out, trouble = writer.communicate(timeout=SECONDS + 60)
        assert writer.returncode == 0, trouble.decode()
        done.append(out.decode().split())
    Path(os.environ.get("ASSISTANT_WRITERS_REPORT", os.devnull)).write_text(repr(done))
    with closing(open_database(file)) as db:
        total = sum(int(count) for count, _ in done)
        assert (db["conversations"].count, db["messages"].count, db["tags"].count) == (total, 2 * total, total)
        for number, (count, _) in enumerate(done):
            like = f"question % of {number}"
            assert db.execute("SELECT count(*) FROM messages WHERE content LIKE ?", (like,)).fetchone()[0] == int(count)
        assert check(db) == derived.troubles(db) == []
