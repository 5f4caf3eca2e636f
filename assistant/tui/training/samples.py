"""What base and retrained say to the same prompts of the held-out part, greedily: a first look, no proof."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlite_utils import Database
from textual.content import Content

from assistant.adapters.speakers import Speaker
from assistant.engine.generate.sampling import Sampling
from assistant.events import Token
from assistant.safe_text import printable, shorten
from assistant.store.training import datasets
from finetune.data.example import Example
from prompts.message import Message

if TYPE_CHECKING:
    from assistant.client import Client

PROMPTS = 3
GREEDY = Sampling(temperature=0.0, max_tokens=80)
QUIET = "$foreground 60%"
_PROMPT_CELLS = 200


@dataclass(frozen=True, slots=True)
class Sample:
    """One prompt and both replies."""

    prompt: str
    base: str
    retrained: str


def prompts(db: Database, dataset_id: int | None) -> list[list[Message]]:
    """The first conversations of the test part, each up to what its last reply answers."""
    if dataset_id is None:
        return []
    held_out = (Example.from_json(one.body) for one in datasets.examples(db, dataset_id, "test"))
    said = ([*example.messages[:-1]] for example in held_out)
    return [one for one, _ in zip((one for one in said if one), range(PROMPTS), strict=False)]


async def make(
    client: "Client", model: str, adapter: str, asked: Sequence[Sequence[Message]]
) -> AsyncGenerator[Sample, None]:
    """Both replies to each prompt, as they come. Raises as `Client.chat`."""
    for said in asked:
        replies = [await _reply(client, model, Speaker(name), said) for name in ("", adapter)]
        yield Sample(said[-1].content, *replies)


async def _reply(client: "Client", model: str, speaker: Speaker, said: Sequence[Message]) -> str:
    events = client.chat(model, said, GREEDY, speaker=speaker)
    return "".join([event.text async for event in events if isinstance(event, Token)])


def shown(samples: Sequence[Sample]) -> Content:
    """A paragraph for each."""
    return Content("\n\n").join(
        Content("\n").join(
            [
                Content.styled(shorten(one.prompt, _PROMPT_CELLS), QUIET),
                *(
                    Content.styled(f"{who:<11}", QUIET) + printable(text.strip() or "(nothing)", newlines=False)
                    for who, text in (("base", one.base), ("retrained", one.retrained))
                ),
            ]
        )
        for one in samples
    )
