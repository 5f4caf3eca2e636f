"""Entities as token classes, in the BIO scheme (Ramshaw and Marcus 1995, https://arxiv.org/abs/cmp-lg/9505040).

At a token a causal model has read only the tokens before it. So the text is given twice, as the user's turn and as the
reply, and the tokens of the reply are classified: each has seen the whole text (as for embeddings in
https://arxiv.org/abs/2402.15449). Loads no torch.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from assistant.adapters.folder import HEAD
from finetune.data.example import Entity, Example
from finetune.data.tokens import Row, Tokenizer
from prompts.message import Message

OUTSIDE = 0


def untagged(text: str, types: Sequence[str]) -> Example:
    """A text to be tagged with entities of these types."""
    return Example((Message("user", text),), frozenset(), choices=tuple((one,) for one in types))


def types_of(example: Example) -> tuple[str, ...]:
    """Entity types of an example."""
    return tuple(one for (one,) in example.choices)


def rows(example: Example, tokenizer: Tokenizer) -> list[Row]:
    """One row; none if it doesn't fit the context, or its tokens don't decode to the text."""
    text = example.messages[-1].content
    prompt, ids = tokenizer.format.encode(example.messages), tokenizer.format.encode_following(text)
    places = _places(tokenizer.format.pieces(ids), text)
    if len(prompt) + len(ids) > tokenizer.limit or places is None:
        tokenizer.cuts.too_long += 1
        return []
    tags = _tags(places, example.entities, types_of(example))
    row = Row.of([*prompt, *ids], [(len(prompt), len(prompt) + len(ids))])
    return [replace(row, tags=np.array([*[OUTSIDE] * len(prompt), *tags], np.int32))]


def spans(tags: Sequence[int], row: Row, text: str, tokenizer: Tokenizer, types: Sequence[str]) -> list[Entity]:
    """Entities from the classes of a row's supervised tokens. An inside tag without a beginning starts an entity."""
    places = _places(tokenizer.format.pieces(row.ids[row.learned].tolist()), text)
    assert places is not None, "a row's tokens decode to its text"
    found: list[Entity] = []
    open_ = ""
    for (start, end), tag in zip(places, tags, strict=True):
        if tag == OUTSIDE or start == end:
            open_ = "" if tag == OUTSIDE else open_
            continue
        kind = types[(tag - 1) // 2]
        if tag % 2 or kind != open_:
            found.append((start, end, kind))
        else:
            found[-1] = (found[-1][0], end, kind)
        open_ = kind
    return found


def _places(pieces: Sequence[str], text: str) -> list[tuple[int, int]] | None:
    """(start, end) of each token in the text, without surrounding white space; None if the tokens aren't the text."""
    if "".join(pieces) != text:
        return None
    places, at = [], 0
    for piece in pieces:
        words = piece.strip()
        start = at + (len(piece) - len(piece.lstrip()) if words else 0)
        places.append((start, start + len(words)))
        at += len(piece)
    return places


def _tags(places: Sequence[tuple[int, int]], entities: Sequence[Entity], types: Sequence[str]) -> Iterator[int]:
    """Class of each token: 1 + 2 t at the beginning of an entity of type t, 2 + 2 t inside it."""
    begun: set[Entity] = set()
    for start, end in places:
        inside = next((one for one in entities if one[0] < max(end, start + 1) and start < one[1]), None)
        if inside is None:
            yield OUTSIDE
            continue
        yield 2 * types.index(inside[2]) + (2 if inside in begun else 1)
        if end > start:  # an empty token belongs to the next one's entity
            begun.add(inside)


def save_types(folder: Path, types: Sequence[str]) -> None:
    """Write the entity types into an adapter's folder."""
    (folder / HEAD).write_text(json.dumps({"types": list(types)}, ensure_ascii=False), encoding="utf-8")


def has_head(folder: Path) -> bool:
    """Whether an adapter has an entity head."""
    return (folder / HEAD).is_file()


def types_in(folder: Path) -> tuple[str, ...]:
    """Entity types of an adapter; empty without an entity head."""
    return tuple(json.loads((folder / HEAD).read_text(encoding="utf-8"))["types"]) if has_head(folder) else ()
