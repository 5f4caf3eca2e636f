"""All that the log knows of one exchange, and how it is told."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlite_utils import Database
from textual.content import Content

from assistant import ratings
from assistant.events import Timing
from assistant.safe_text import printable
from assistant.store import messages
from assistant.store.judgements import curation
from assistant.store.judgements.curation import Judgement, Preference
from assistant.store.messages import ReplyInfo, StoredMessage
from assistant.tui.clock import short_time
from assistant.tui.dialogs.sampling import describe
from assistant.tui.log.exchange_detail import Facts, SideBySide
from assistant.tui.log.rows import LogRow
from assistant.tui.widgets.message import MessageView, ShownMessage

LABEL_CELLS = 11


@dataclass(frozen=True, slots=True)
class Detail:
    """`reply` is None for what a person said that has no reply; `versions` are its siblings, itself among them."""

    row: LogRow
    prompt: StoredMessage | None
    reply: StoredMessage | None
    versions: Sequence[StoredMessage] = ()
    info: ReplyInfo | None = None
    judgement: Judgement = field(default_factory=Judgement)
    votes: Sequence[Preference] = ()

    @property
    def others(self) -> list[StoredMessage]:
        """The other versions."""
        return [one for one in self.versions if self.reply is not None and one.id != self.reply.id]

    @property
    def corrections(self) -> list[StoredMessage]:
        """The versions that a person wrote in place of this reply."""
        return [one for one in self.others if self.reply is not None and one.corrects_id == self.reply.id]


def read(db: Database, row: LogRow) -> Detail:
    """The detail of a row. Raises `StoreError` where it was deleted meanwhile."""
    if row.exchange is None:
        return Detail(row, messages.get(db, row.hit_id), None)
    reply = messages.get(db, row.exchange.message_id)
    return Detail(
        row,
        None if reply.parent_id is None else messages.get(db, reply.parent_id),
        reply,
        [messages.get(db, one) for one in messages.siblings(db, reply.id)],
        messages.reply_info(db, reply.id) if messages.was_generated(db, reply.id) else None,
        curation.judgement(db, reply.id),
        curation.preferences(db, reply.id),
    )


def entries(detail: Detail, beside: int, now: datetime) -> list[ShownMessage | SideBySide | Facts]:
    """What the pane shows. Of several versions, `beside` numbers the one beside the reply, round and round."""
    shown: list[ShownMessage | SideBySide | Facts] = []
    if detail.prompt is not None:
        shown.append(_message(detail.prompt, short_time(detail.prompt.created_ms, now)))
    if detail.reply is not None:
        shown.append(_reply(detail, detail.reply, beside, now))
        shown.append(Facts([(label, _plain(text)) for label, text in facts(detail) if text], LABEL_CELLS))
    return shown


def _reply(detail: Detail, reply: StoredMessage, beside: int, now: datetime) -> ShownMessage | SideBySide:
    if not detail.others:
        return _message(reply, short_time(reply.created_ms, now))
    other = detail.others[beside % len(detail.others)]
    ids = [one.id for one in detail.versions]
    left, right = (
        _message(one, f"{said} · {ids.index(one.id) + 1} of {len(ids)}")
        for one, said in ((reply, "this one"), (other, _role(other, reply)))
    )
    return SideBySide(left, right)


def _role(other: StoredMessage, reply: StoredMessage) -> str:
    return "correction" if other.corrects_id == reply.id else "corrected" if reply.corrects_id == other.id else "other"


def _message(row: StoredMessage, time: str) -> ShownMessage:
    return ShownMessage(MessageView(row.id, row.role, row.content, time, row.state, note=row.error))


def _plain(text: str) -> Content:
    return Content(printable(text))


def facts(detail: Detail) -> list[tuple[str, str]]:
    """(label, text) of the judgements of a reply and of its provenance; an empty text where there is nothing."""
    judged, e = detail.judgement, detail.row.exchange
    surprise = "" if e is None or e.surprise is None else f"{e.surprise:.2f} ({_level(e.surprise)})"
    return [
        ("note", judged.note),
        ("tags", " ".join(f"#{tag}" for tag in judged.tags)),
        ("rated", ratings.given(judged.rating)),
        ("decided", "" if judged.decision == "undecided" else judged.decision),
        ("votes", _votes(detail)),
        *(_made_with(detail.info) if detail.info else [("made by", "a person, or imported")]),
        ("surprise", surprise),
    ]


def _level(surprise: float) -> str:
    """In a word how unlikely the model found its reply, in nats per token: sampled chat replies lie mostly below 1."""
    return "low" if surprise < 1 else "medium" if surprise < 2.5 else "high"


def _votes(detail: Detail) -> str:
    won = sum(not vote.tie and vote.chosen_id == detail.row.reply_id for vote in detail.votes)
    ties = sum(vote.tie for vote in detail.votes)
    lost = len(detail.votes) - won - ties
    counted = ((won, "better"), (lost, "worse"), (ties, "as good"))
    return ", ".join(f"{count} × {word}" for count, word in counted if count)


def _made_with(info: ReplyInfo) -> list[tuple[str, str]]:
    made, went = info.provenance, info.outcome
    speed = Timing(went.load_s, went.first_token_s, went.total_s).tokens_per_s(went.completion_tokens)
    seed = "" if made.seed is None else f"seed {made.seed}"
    timing = [
        f"{went.prompt_tokens:,} in, {went.completion_tokens:,} out" if went.completion_tokens else "",
        f"first word {went.first_token_s:.2f} s" if went.first_token_s else "",
        f"{speed:.0f} tok/s" if speed else "",
        went.device,
        went.finish_reason,
    ]
    return [
        ("model", _apart(made.model, went.model_hash[:12])),
        ("adapter", made.adapter_hash[:12] or "none"),
        ("template", _apart(made.template, made.template_hash[:12])),
        ("sampling", _apart(describe(made.sampling), seed)),
        ("tokens", _apart(*timing)),
    ]


def _apart(*parts: str) -> str:
    return " · ".join(part for part in parts if part)
