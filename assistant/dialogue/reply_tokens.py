"""A reply token by token: how probable each was, and what else could have stood in its place."""

from collections.abc import Sequence
from dataclasses import replace

from sqlite_utils import Database

from assistant.client import Client
from assistant.dialogue.replay import asked, speaker_then
from assistant.events import Token
from assistant.paths import Paths
from assistant.store import messages
from assistant.store.messages import Outcome

ALTERNATIVES = 5


def stored(db: Database, message_id: int) -> list[Token]:
    """The tokens of a reply as they were made; none where the log doesn't have all of them.

    Texts together are the reply. Raises `StoreError` for a message that no model of ours made.
    """
    outcome = messages.reply_info(db, message_id).outcome
    return _cut(messages.get(db, message_id).content, outcome)


def _cut(text: str, outcome: Outcome) -> list[Token]:
    lengths, ids, logprobs = outcome.token_lengths, outcome.token_ids, outcome.logprobs
    if sum(lengths) != len(text) or not len(lengths) == len(ids) == len(logprobs):
        return []
    tokens, at = [], 0
    for token, length, logprob in zip(ids, lengths, logprobs, strict=True):
        tokens.append(Token(text[at : at + length], token, logprob))
        at += length
    return tokens


async def with_alternatives(
    db: Database, client: Client, paths: Paths, message_id: int, *, top: int = ALTERNATIVES
) -> list[Token]:
    """As `stored`, each with the `top` likeliest in its place, for which the model reads the reply once more.

    Where the log doesn't have the tokens, they are those that the model's tokenizer makes of the text. Raises
    `ReplayRefused` where the prompt isn't known any more, and as `Client.logprobs` does.
    """
    then = asked(db, message_id)
    made = then.info.provenance
    speaker = speaker_then(db, paths, then)
    known = _cut(then.row.content, then.info.outcome)
    reply: str | Sequence[int] = [token.id for token in known if token.id is not None] or then.row.content
    again = await client.logprobs(made.model, then.prompt, reply, top_logprobs=top, speaker=speaker)
    if not known:
        return again
    return [replace(one, top=other.top) for one, other in zip(known, again, strict=True)]
