"""The tokens of a reply on the screen, and the lines they are laid out in."""

import pytest
from sqlite_utils import Database
from textual.widgets import Static

from assistant.paths import Paths
from assistant.store import conversations, messages
from assistant.store.messages import Outcome, Provenance
from assistant.tui.judging.token_text import Piece, laid_out
from assistant.tui.judging.tokens import TokensScreen
from tests.assistant.tui.conftest import MODEL, Window, said, window
from tests.fake_engine import FakeEngine

TOKENS = [("The", -0.01), (" lamp", -0.7), ("\n", -0.2), ("鲸", -3.0), ("", -9.0), ("鱼 sang.", -0.05)]


def told(db: Database) -> int:
    talk = said(db, "A talk", ["Hello"])
    parent = conversations.get(db, talk).leaf_id
    made = Provenance(MODEL, "plain", "hash", "", {}, 1)
    reply = messages.begin_reply(db, talk, parent, made)
    texts, logprobs = zip(*TOKENS, strict=True)
    outcome = Outcome(token_ids=range(6), logprobs=logprobs, token_lengths=[len(text) for text in texts])
    messages.end_reply(db, reply, "".join(texts), "complete", outcome)
    conversations.remember(db, "open", str(talk))
    return reply


def text_of(shown: Window, name: str) -> str:
    return str(shown.app.screen.query_one(f"#{name}", Static).content)


async def test_the_cursor_tells_each_token(model_home: Paths, db: Database, engine: FakeEngine) -> None:
    told(db)
    async with window(model_home, engine) as shown:
        await shown.pilot.press("up", "p")
        await shown.until(lambda: isinstance(shown.app.screen, TokensScreen) and "The" in text_of(shown, "token"))
        await shown.until(lambda: "without its template" in text_of(shown, "alternatives"))
        assert text_of(shown, "token").startswith("The  98 %  token 1 of 6")
        seen = []
        for key in ("right", "down", "right", "right", "right", "right", "up", "home", "end", "left", "pageup"):
            await shown.pilot.press(key)
            await shown.pilot.pause()
            seen.append(text_of(shown, "token").split("  ")[0])
        last = "鱼·sang."
        assert seen == ["·lamp", *[last] * 5, "The", "The", last, "(a part of a character)", "The"]
        await shown.pilot.press("escape")
        assert not isinstance(shown.app.screen, TokensScreen)


@pytest.mark.parametrize(
    ("texts", "lines"),
    [
        ([], [[]]),
        (["ab", "cd"], [[Piece(0, "ab", 0), Piece(1, "cd", 2)]]),
        (["abcd", "efgh", "x"], [[Piece(0, "abcd", 0)], [Piece(1, "efgh", 0), Piece(2, "x", 4)]]),
        (["a\n\nb"], [[Piece(0, "a", 0), Piece(0, "↵", 1)], [Piece(0, "↵", 0)], [Piece(0, "b", 0)]]),
        (["鲸鱼", "鲸鱼"], [[Piece(0, "鲸鱼", 0)], [Piece(1, "鲸鱼", 0)]]),
        (["abcdefghij"], [[Piece(0, "abcdefg", 0)], [Piece(0, "hij", 0)]]),
        (["鲸鱼鲸鱼"], [[Piece(0, "鲸鱼鲸", 0)], [Piece(0, "鱼", 0)]]),
    ],
)
def test_lines(texts: list[str], lines: list[list[Piece]]) -> None:
    assert laid_out(texts, 8) == lines
