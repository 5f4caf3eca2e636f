"""One conversation as it is written out, without personal data."""

from collections.abc import Mapping
from dataclasses import replace

from assistant.store.files.exports.stored import Stored
from assistant.store.judgements.curation import Judgement
from assistant.store.messages import ReplyInfo, StoredMessage
from assistant.store.redaction.redactor import Redactor

TEXTS = ("title", "system", "draft", "source", "source_id", "model")
JSON = ("inputs", "sampling")


def redacted(conversation: Stored, redact: Redactor) -> Stored:
    """All its texts with placeholders. The tokens of a reply that changed are left out: they would give it back."""
    rows = [replace(row, content=redact(row.content), error=redact(row.error)) for row in conversation.rows]
    changed = {new.id for new, old in zip(rows, conversation.rows, strict=True) if new.content != old.content}
    judgements, models = conversation.judgements, conversation.models  # of all conversations read with it
    return replace(
        conversation,
        fields=_fields(conversation.fields, redact),
        rows=rows,
        judgements={row.id: _judgement(judgements[row.id], redact) for row in rows if row.id in judgements},
        replies={one: _reply(info, redact, bare=one in changed) for one, info in conversation.replies.items()},
        models={row.id: redact(models[row.id]) for row in rows if row.id in models},
        votes=[(vote, redact(text)) for vote, text in conversation.votes],
        # What the templates make of the inputs, as with placeholders in them they might make something else.
        given_system=redact(conversation.system),
    )


def _fields(fields: Mapping[str, object], redact: Redactor) -> dict[str, object]:
    return {
        name: redact(value)
        if name in TEXTS and isinstance(value, str)
        else redact.in_json(value)
        if name in JSON and isinstance(value, str)
        else value
        for name, value in fields.items()
    }


def _judgement(judgement: Judgement, redact: Redactor) -> Judgement:
    return replace(judgement, note=redact(judgement.note), tags=tuple(map(redact, judgement.tags)))


def _reply(info: ReplyInfo, redact: Redactor, *, bare: bool) -> ReplyInfo:
    made = info.provenance
    made = replace(
        made,
        model=redact(made.model),
        template_text=redact(made.template_text),
        sampling=redact.in_value(made.sampling),
        inputs=redact.in_value(made.inputs),
    )
    outcome = replace(info.outcome, token_ids=[], logprobs=[], token_lengths=[]) if bare else info.outcome
    return ReplyInfo(made, outcome)


Place = tuple[str, int | None, str]
"""(what it is, the message it belongs to, its text)."""


def texts(conversation: Stored) -> list[Place]:
    """Every text of it, in reading order."""
    fields = conversation.fields
    found: list[Place] = [("title", None, fields["title"]), ("system", None, conversation.system)]
    for row in conversation.rows:
        found += [(row.role, row.id, row.content), ("error", row.id, row.error)]
        found += _judged(conversation, row)
    found += [("inputs", None, fields["inputs"]), ("draft", None, fields["draft"]), ("source", None, fields["source"])]
    return [place for place in found if place[2]]


def _judged(conversation: Stored, row: StoredMessage) -> list[Place]:
    judgement = conversation.judgement(row.id)
    return [("note", row.id, judgement.note), *(("tag", row.id, tag) for tag in judgement.tags)]
