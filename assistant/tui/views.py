"""What is stored, made ready to show."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlite_utils import Database

from assistant import ratings
from assistant.cli.output import counted
from assistant.events import Timing
from assistant.safe_text import shorten
from assistant.store import messages
from assistant.store.judgements.curation import Judgement
from assistant.store.messages import Outcome, ReplyInfo, StoredMessage
from assistant.tui.clock import short_time
from assistant.tui.dialogs.sampling import describe
from assistant.tui.replies import Reply
from assistant.tui.widgets.message import MessageView

NOT_JUDGED = Judgement()
TAGS_SHOWN = 2
WIDEST_TAG_CELLS = 14


def message_views(
    path: Sequence[tuple[StoredMessage, int, int]],
    now: datetime,
    *,
    retry_key: str,
    judgements: Mapping[int, Judgement],
) -> list[MessageView]:
    """The messages of a path, each with its place among its siblings and its judgements."""
    return [
        MessageView(
            id=row.id,
            role=row.role,
            text=row.content,
            time=short_time(row.created_ms, now),
            state=row.state,
            sibling=index,
            siblings=count,
            note=f"{row.error} {retry_key} tries again." if row.error else "",
            marks=marks(judgements.get(row.id, NOT_JUDGED), correction=row.corrects_id is not None),
        )
        for row, index, count in path
    ]


def marks(judgement: Judgement, *, correction: bool = False) -> tuple[str, ...]:
    """Judgements as short display strings: `+ good`, `#story`, `kept`, `note`."""
    word = ratings.given(judgement.rating)
    rating = f"{ratings.of(judgement.rating).sign} {word}" if word else ""
    tags = [shorten(f"#{tag}", WIDEST_TAG_CELLS) for tag in judgement.tags[:TAGS_SHOWN]]
    more = f"+{counted(len(judgement.tags) - TAGS_SHOWN, 'tag')}" if len(judgement.tags) > TAGS_SHOWN else ""
    decision = {"keep": "kept", "skip": "skipped"}.get(judgement.decision, "")
    told = ["correction" if correction else "", rating, *tags, more, decision, "note" if judgement.note else ""]
    return tuple(word for word in told if word)


def makers(db: Database, ids: tuple[int, int]) -> tuple[str, str]:
    """The maker of each of two replies: model, template, adapter, and the settings in which they differ."""
    made = [messages.reply_info(db, one) if messages.was_generated(db, one) else None for one in ids]
    settings = [info.provenance.sampling if info else {} for info in made]
    differing = [name for name in settings[0] if name in settings[1] and settings[0][name] != settings[1][name]]
    first, second = (_maker(db, one, info, differing) for one, info in zip(ids, made, strict=True))
    return first, second


def _maker(db: Database, message_id: int, info: ReplyInfo | None, settings: Sequence[str]) -> str:
    if info is None:
        return "you, as a correction" if messages.get(db, message_id).corrects_id is not None else "not by a model here"
    made = info.provenance
    adapter = [f"adapter {made.adapter_hash[:12]}"] if made.adapter_hash else []
    own = [describe({name: made.sampling[name]}) for name in settings]
    return " · ".join([made.model.rpartition("/")[2], made.template, *adapter, *filter(None, own)])


def figures_of_outcome(outcome: Outcome) -> list[str]:
    """Context used, time to the first token and speed of a reply that has ended."""
    timing = Timing(outcome.load_s, outcome.first_token_s, outcome.total_s)
    return _figures(
        outcome.prompt_tokens + outcome.completion_tokens,
        outcome.context_tokens,
        outcome.first_token_s,
        timing.tokens_per_s(outcome.completion_tokens),
    )


def figures_of_reply(reply: Reply) -> list[str]:
    """The same of a reply that grows."""
    growing, read = reply.growing, reply.growing.prefilled
    used, first_token_s = growing.prompt_tokens + growing.tokens, growing.timing.first_token_s
    return _figures(used, read.context_tokens if read else 0, first_token_s, growing.tokens_per_s)


def _figures(used: int, context: int, first_token_s: float, tokens_per_s: float) -> list[str]:
    figures = []
    if used:
        figures.append(f"{used:,} of {context:,} tokens" if context else counted(used, "token"))
    if first_token_s:
        figures.append(f"first word {first_token_s:.2f} s")
    if tokens_per_s:
        figures.append(f"{tokens_per_s:.0f} tok/s")
    return figures


def left_out(messages: int) -> str:
    """What is said when a conversation has outgrown the context."""
    what = "The oldest message is" if messages == 1 else f"The {messages:,} oldest messages are"
    return f"{what} left out of the prompt: the conversation is longer than the model's context."
