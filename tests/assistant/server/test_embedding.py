"""Background requests wait for the engine's other work; others don't wait for them."""

import asyncio
import threading

import pytest

from assistant.errors import RequestRefused
from assistant.server import embedding
from assistant.server.embedding import Embedding, Embeds
from tests.assistant.server.conftest import until


class Letters:
    """Embeds a text as its length; "stay" holds up its thread until `go`."""

    def __init__(self) -> None:
        self.embedded: list[str] = []
        self.go = threading.Event()

    def embed(self, text: str) -> tuple[tuple[float, ...], int]:
        self.embedded.append(text)
        if text == "stay":
            self.go.wait(5)
        if text == "bad":
            raise ValueError("no")
        return (float(len(text)),), 1


@pytest.fixture(autouse=True)
def short_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "REST_S", 0.05)


async def test_the_background_waits_and_others_do_not() -> None:
    letters, busy = Letters(), True
    made = Embedding(lambda _: letters, lambda: True, lambda: busy)
    waiting = asyncio.create_task(made.embed("m", ["aa", "stay", "aaa"], background=True))
    now = await made.embed("m", ["b"], background=False)
    assert now is not None and now.vectors == ((1.0,),)
    await asyncio.sleep(0.2)
    assert letters.embedded == ["b"]
    busy = False
    await until(lambda: letters.embedded == ["b", "aa", "stay"])
    await made.embed("m", ["c"], background=False)  # while the background is at work on a text
    busy = True
    letters.go.set()
    await asyncio.sleep(0.2)
    assert letters.embedded == ["b", "aa", "stay", "c"]
    busy = False
    done = await waiting
    assert done is not None and done.vectors == ((2.0,), (4.0,), (3.0,))


async def test_a_model_is_loaded_once_and_one_that_chats_is_none() -> None:
    loaded: list[str] = []

    def load(model: str) -> Embeds | None:
        loaded.append(model)
        return None if model == "chats" else Letters()

    made = Embedding(load, lambda: True, lambda: False)
    for background in (True, False, False):
        await made.embed("m", ["a"], background=background)
    assert await made.embed("chats", ["a"], background=False) is None
    await made.embed("m", ["a"], background=False)
    assert loaded == ["m", "chats"]


async def test_what_nobody_expected_is_a_sentence() -> None:
    made = Embedding(lambda _: Letters(), lambda: True, lambda: False)
    with pytest.raises(RequestRefused, match="Ask again"):
        await made.embed("m", ["bad"], background=False)
