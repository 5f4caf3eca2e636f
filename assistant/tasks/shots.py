"""Few-shot: worked examples for each input, as many of those chosen as the model's context holds."""

import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from assistant.client import Client
from assistant.errors import AssistantError, ModelUnsupported
from prompts.examples import BY_MEANING, Pool, meaning, texts
from prompts.filters import normalised
from prompts.labels import forms
from prompts.message import Message
from prompts.template import Example, Template, example

Embed = Callable[[Sequence[str]], Awaitable[list[list[float]]]]
"""Texts -> a vector of length 1 for each."""

MESSAGE_TOKENS = 16
"""At most so many tokens of a message are the chat template's own; its first one may add a system message."""


async def pool(examples: Sequence[Example], choice: str, seed: int, embed: Embed) -> Pool:
    """A pool that chooses so, its examples embedded where it goes by meaning."""
    vectors = await embed(texts(examples)) if choice in BY_MEANING and examples else []
    return Pool(examples, choice, seed=seed, vectors=vectors)


class Shots:
    """`count` examples of `pool` for one input after another, for one model."""

    def __init__(self, client: Client, model: str, pool: Pool, count: int, embed: Embed) -> None:
        self.pool = pool
        self.count = count
        self._client = client
        self._model = model
        self._embed = embed
        self._context_tokens: int | None = None

    def only(self, examples: Sequence[Example]) -> "Shots":
        """The same with these examples as they stand; never the input itself."""
        return Shots(self._client, self._model, Pool(examples), len(examples), self._embed)

    def identity(self) -> dict[str, Any]:
        """What the examples depend on beside the input."""
        said = json.dumps([[one.input, one.output, dict(one.values), one.reasoning] for one in self.pool.examples])
        digest = hashlib.sha256(said.encode()).hexdigest()
        return {"count": self.count, "choice": self.pool.choice, "seed": self.pool.seed, "pool": digest}

    async def choose(
        self,
        text: str,
        values: Mapping[str, str],
        prompt: Callable[[Sequence[Example]], Sequence[Message]],
        reply_tokens: int,
    ) -> tuple[list[Example], int]:
        """(the examples for an input, how many were left out since the context is full).

        `prompt` is what is asked with some examples; `reply_tokens` is what must be left for the reply, of which a
        quarter of the context is enough.
        """
        vector: Sequence[float] = ()
        if self.pool.choice == "nearest" and self.count:
            own = {name: values[name] for name in self.pool.inputs if name in values}
            vector = (await self._embed([meaning(text, own)]))[0]
        wanted = found = self.pool.choose(self.count, text, values, vector)
        while found and not await self._fits(prompt(found), reply_tokens):
            found = self.pool.choose(len(found) - 1, text, values, vector)
        return found, len(wanted) - len(found)

    @staticmethod
    def room(context_tokens: int, reply_tokens: int) -> int:
        """Tokens that a prompt may have, as the engine counts: a reply gets what it wants, or a quarter."""
        return context_tokens - min(reply_tokens, context_tokens // 4)

    async def _fits(self, messages: Sequence[Message], reply_tokens: int) -> bool:
        context = await self._context()
        room = self.room(context, reply_tokens)
        most = sum(len(one.content.encode()) + MESSAGE_TOKENS for one in messages) + MESSAGE_TOKENS * 4
        if most < room or not context:  # a token has a byte at least
            return True
        return len((await self._client.tokenize(self._model, messages)).ids[0]) < room

    async def _context(self) -> int:
        """Tokens; 0 of a model elsewhere, which is unknown."""
        if self._context_tokens is None:
            try:
                self._context_tokens = (await self._client.tokenize(self._model, texts=["x"])).context_tokens
            except ModelUnsupported:
                self._context_tokens = 0
        return self._context_tokens


def from_rows(template: Template, rows: Iterable[Mapping[str, Any]], column: str, truth: str) -> list[Example]:
    """Labelled rows as examples. Raises `AssistantError` for a row without its input."""
    found = []
    for number, row in enumerate(rows, 1):
        if row.get(column) in (None, ""):
            raise AssistantError(f"Row {number} of the examples has no {column!r}. Name the column of inputs.")
        several = template.several and isinstance(row[truth], list)
        row = {**row, truth: ", ".join(map(str, row[truth]))} if several else row
        found.append(example(row, column, truth, [one.name for one in template.inputs]))
    return found


def from_exchanges(template: Template, exchanges: Iterable[tuple[str, str]]) -> list[Example]:
    """Prompts and replies as examples; where the template has classes, those whose reply is a class or its word."""
    if not template.labels:
        return [Example(asked, reply) for asked, reply in exchanges]
    classes = {normalised(form): name for name, words in template.labels.items() for form in [*forms(words), name]}
    pairs = [(asked, normalised(reply).rstrip(".。!！")) for asked, reply in exchanges]
    return [Example(asked, classes[reply]) for asked, reply in pairs if reply in classes]
