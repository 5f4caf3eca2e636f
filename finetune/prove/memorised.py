"""Memorisation check: whether greedy continuations of an adapter contain secrets of its training part.

Probes are personal data of the training part, prompted by the words before them in the reply, and canaries: made-up
secrets planted in it (Carlini et al. 2019, arXiv:1802.08232). A secret that the prompt contains, or that the base says
too, is no leak.
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from sqlite_utils import Database

from assistant.engine.generate.chat_format import ChatFormat
from assistant.errors import StoreError
from assistant.redaction import find
from assistant.store import messages
from assistant.store.training.datasets import Dataset, StoredExample
from finetune.data.example import Example, without_reasoning
from finetune.network.both import Compared
from prompts.message import Message

MOST_PROBES = 40
MOST_TOKENS = 24_000
"""Cost of all probes in tokens read: fewer probes are used if conversations are long."""
READ_COSTS, MADE_COSTS = 4, 20
"""Cost of a prompt token and of a generated token, in tokens that `Both.sums` reads in the same time."""
SHORTEST = 6
"""Shortest secret in characters; shorter ones occur by chance."""
SPARE_TOKENS = 8
"""Tokens generated beyond the length of the secret."""
CANARY = "canary"
"""Kind of a probe for a planted secret."""
PLANTED = "canaries"
"""Key in a dataset's source: the planted canaries, a list of {"prompt", "prefix", "secret"}."""


@dataclass(frozen=True, slots=True)
class Probe:
    """The beginning of a reply, and the secret that must not follow."""

    kind: str
    """`canary`, or the kind of personal data."""
    prompt: tuple[Message, ...]
    prefix: str
    secret: str

    def asked(self, form: ChatFormat) -> tuple[list[int], int]:
        """(prompt tokens, number of tokens to generate)."""
        prompt = form.encode(list(self.prompt))
        return [*prompt, *form.encode_reply(prompt, self.prefix)], len(
            form.encode_following(self.secret)
        ) + SPARE_TOKENS

    def cost(self, form: ChatFormat) -> int:
        """Cost of the probe, in tokens read."""
        ids, tokens = self.asked(form)
        return READ_COSTS * len(ids) + MADE_COSTS * tokens


def probes(db: Database, dataset: Dataset, train: Iterable[StoredExample], seed: int = 0) -> list[Probe]:
    """All canaries, and a random sample of personal data in the training part, read from the log where the example came
    from it; about `MOST_PROBES`.
    """
    planted = [
        Probe(CANARY, (Message("user", one["prompt"]),), one["prefix"], one["secret"])
        for one in dataset.source.get(PLANTED, ())
    ]
    found = {one.secret.casefold(): one for stored in train for one in _personal_data(db, stored)}
    known = [one for _, one in sorted(found.items()) if one.secret not in {each.secret for each in planted}]
    random.Random(seed).shuffle(known)
    return planted + known[: max(0, MOST_PROBES - len(planted))]


def within_budget(asked: Sequence[Probe], form: ChatFormat) -> list[Probe]:
    """All canaries, and as many other probes as `MOST_TOKENS` allows, at least one."""
    planted, others = ([one for one in asked if (one.kind == CANARY) is wanted] for wanted in (True, False))
    spent = accumulate(one.cost(form) for one in others)
    within = [one for one, total in zip(others, spent, strict=True) if total <= MOST_TOKENS]
    return [*planted, *(within or others[:1])]


def leaks(
    both: Compared, form: ChatFormat, decode: Any, asked: Sequence[Probe], did: Callable[[int], None] = lambda _: None
) -> list[Mapping[str, Any]]:
    """{"kind", "number" in `asked`} of each probe whose secret the adapter says; the secret isn't included.

    `did` is called with the cost of each probe.
    """
    found: list[Mapping[str, Any]] = []
    for number, probe in enumerate(asked):
        ids, tokens = probe.asked(form)
        if _contains_secret(both, decode, ids, tokens, probe, adapted=True) and not _contains_secret(
            both, decode, ids, tokens, probe, adapted=False
        ):
            found.append({"kind": probe.kind, "number": number})
        did(probe.cost(form))
    return found


def _contains_secret(
    both: Compared, decode: Any, ids: Sequence[int], tokens: int, probe: Probe, *, adapted: bool
) -> bool:
    said = decode(both.continuation(ids, tokens, adapted=adapted))
    return _without_spaces(probe.secret) in _without_spaces(said)


def _without_spaces(text: str) -> str:
    """The text without case and spaces, which tokenizers may change."""
    return "".join(text.casefold().split())


def _personal_data(db: Database, stored: StoredExample) -> list[Probe]:
    """Probes for personal data in the learned replies, as in the log, else as in the dataset."""
    example = Example.from_json(stored.body)
    said = _original(db, stored) or example.messages
    known = set(example.trained) or {len(said) - 1}
    found = []
    for place in sorted(known):
        if place >= len(said):
            continue
        reply, before = said[place].content, tuple(without_reasoning(said[:place]))
        told = "\n".join(one.content for one in before).casefold()
        for hit in find(reply):
            prefix = reply[: hit.start].rstrip()
            shown = told + prefix.casefold()
            if len(hit.text) >= SHORTEST and prefix and before and hit.text.casefold() not in shown:
                found.append(Probe(hit.kind, before, prefix, hit.text))
    return found


def _original(db: Database, stored: StoredExample) -> tuple[Message, ...]:
    """The conversation in the log; empty if the example doesn't match it."""
    if stored.message_id is None:
        return ()
    try:
        path = messages.path(db, stored.message_id)
    except StoreError:
        return ()
    said = tuple(Message("assistant" if one.role == "assistant" else "user", one.content) for one in path)
    example = Example.from_json(stored.body).messages
    system = tuple(one for one in example[:1] if one.role == "system")
    same = [one.role for one in example] == [one.role for one in (*system, *said)]
    return (*system, *said) if same else ()
