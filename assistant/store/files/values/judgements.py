"""What a file says that a person thought of a reply: thumbs, weights, notes and tags -> a `Judgement`.

A weight of 0 becomes the decision `skip`: the reply is read as context and not learned. A weight of 1 is what every
reply has that isn't weighed.
"""

import re
from collections import Counter
from dataclasses import replace

from assistant.ratings import BAD, GOOD, NONE
from assistant.store.files.transcript import NOT_JUDGED
from assistant.store.files.values.fields import Fields, count, is_empty
from assistant.store.judgements.curation import Judgement

_RATINGS = ("rating", "kto_tag", "label", "feedback", "annotation", "thumbs", "thumb", "vote", "reaction")
_FLAGS = {
    **dict.fromkeys(("thumbs_up", "thumbsUp", "liked", "is_good"), GOOD.number),
    **dict.fromkeys(("thumbs_down", "thumbsDown", "disliked"), BAD.number),
}
"""Fields that are true where the reply was rated so."""
_LABELS = frozenset({"kto_tag", "label"})
"""Fields where 0 is no."""
WEIGHTS = ("weight", "loss_weight", "train", "trainable", "training", "train_on_turn", "loss")
_NOTES = ("note", "notes", "comment")
_TAGS = ("tags", "tag", "category")
_FIELDS = frozenset((*_RATINGS, *_FLAGS, *WEIGHTS, *_NOTES, *_TAGS))

_GOOD = frozenset(
    (
        "up",
        "thumbsup",
        "like",
        "liked",
        "good",
        "positive",
        "true",
        "yes",
        "desirable",
        "chosen",
        "upvote",
        "1",
        "+1",
        "👍",
    )
)
_BAD = frozenset(
    (
        "down",
        "thumbsdown",
        "dislike",
        "disliked",
        "bad",
        "negative",
        "false",
        "no",
        "undesirable",
        "downvote",
        "-1",
        "👎",
    )
)


def judgement_of(fields: Fields, left: Counter[str]) -> Judgement:
    """The judgement in a message or a row. Values without a known meaning are counted by the field's name."""
    if _FIELDS.isdisjoint(fields.value):
        return NOT_JUDGED
    found = NOT_JUDGED
    for name in _RATINGS:
        if name in fields:
            found = _with_rating(found, fields, name, left)
    for name, rating in _FLAGS.items():
        if isinstance(fields.value.get(name), bool) and fields.take(name):
            found = replace(found, rating=found.rating or rating)
    decision = "skip" if _weighs_nothing(fields, left) else "undecided"
    note = "\n".join(filter(None, (found.note, fields.text(*_NOTES))))
    return replace(found, decision=decision, note=note, tags=(*found.tags, *_tags(fields)))


def _with_rating(found: Judgement, fields: Fields, name: str, left: Counter[str]) -> Judgement:
    value = fields.value[name]
    if isinstance(value, dict):
        inner = fields.inner(name)
        value = inner.take("rating") if "rating" in inner else inner.take("type")
        reason = ": ".join(filter(None, (inner.text("reason"), inner.text("comment", "text", "content"))))
        found = replace(found, note="\n".join(filter(None, (found.note, reason))), tags=(*found.tags, *_tags(inner)))
        inner.count_unread(left)
    rating = rating_of(value, zero_is_bad=name in _LABELS)
    if rating is None:
        if not is_empty(value):
            count(left, f"'{name}' values that are no thumbs")
            fields.skip(name)
        return found
    fields.skip(name)
    return replace(found, rating=found.rating or rating)


def rating_of(value: object, *, zero_is_bad: bool = False) -> int | None:
    """The number of a rating; None where the value is no thumb, such as one of five stars."""
    if isinstance(value, bool):
        return GOOD.number if value else BAD.number
    if isinstance(value, int | float):
        if value == 0:
            return BAD.number if zero_is_bad else NONE.number
        return GOOD.number if value == 1 else BAD.number if value == -1 else None
    if isinstance(value, str) and len(value) <= 20:
        word = re.sub(r"[\s_-]+(?!\d)", "", value.lower())
        return GOOD.number if word in _GOOD else BAD.number if word in _BAD else None
    return None


def _weighs_nothing(fields: Fields, left: Counter[str]) -> bool:
    """Whether a weight says that the reply isn't to be learned."""
    for name in WEIGHTS:
        value = fields.value.get(name)
        if value is None or (name == "loss" and not isinstance(value, bool)):
            continue
        fields.skip(name)
        if isinstance(value, int | float) and value in (0, 1):
            if not value:
                return True
        else:
            count(left, f"'{name}' values that are neither 0 nor 1")
    return False


def _tags(fields: Fields) -> tuple[str, ...]:
    """Tags as a list of texts, objects with a name, or one text with commas."""
    tags: list[str] = []
    for name in _TAGS:
        found = fields.first(str, name) or fields.first(list, name) or fields.first(dict, name) or ()
        for one in found.split(",") if isinstance(found, str) else [found] if isinstance(found, dict) else found:
            one = (one.get("name") or one.get("key")) if isinstance(one, dict) else one
            if isinstance(one, str) and one.strip():
                tags.append(one.strip())
    return tuple(dict.fromkeys(tags))
