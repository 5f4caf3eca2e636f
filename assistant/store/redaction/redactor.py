"""What stands for a personal value: [EMAIL_1], the same for the same value each time that anything is redacted.

Values are known again by a keyed fingerprint (HMAC-SHA256), so that these tables don't hold them once more. The key
lies in the log too: whoever has the log can still find out by trying whether a value they know was in it.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

from sqlite_utils import Database

from assistant.redaction import KINDS, Hit, find, replaced
from assistant.store import conversations
from assistant.store.database import execute, select, transaction

_KEY = "redaction_key"
_SHORT = 4_000
"""Texts of up to so many characters are looked through once where they come again: templates, models, settings."""


class Redactor:
    """Called with a text, gives it without personal data. `words` are values that a person named."""

    def __init__(self, db: Database, *, words: Sequence[str] = (), kinds: Collection[str] = KINDS) -> None:
        self._db = db
        self._words = words
        self._kinds = kinds
        self._key = _key(db)
        self._spared = {row[0] for row in select(db, "SELECT fingerprint FROM not_personal")}
        self._short = lru_cache(maxsize=1_000)(self._find)
        self.used: dict[str, str] = {}
        """Fingerprint -> placeholder, of the values that were replaced."""
        self.count = 0
        """Places in which one was replaced."""

    def __call__(self, text: str) -> str:
        hits = self.hits(text)
        return replaced(text, hits, self._placeholder) if hits else text

    def in_json(self, text: str) -> str:
        """The texts within a JSON value."""
        value = json.loads(text)
        new = self.in_value(value)
        return text if new == value else json.dumps(new, ensure_ascii=False)

    def in_value(self, value: Any) -> Any:
        """The texts within a value of lists and dicts; their keys stay."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, dict):
            return {name: self.in_value(one) for name, one in value.items()}
        return [self.in_value(one) for one in value] if isinstance(value, list) else value

    def hits(self, text: str) -> list[Hit]:
        """Where personal data stands, without what a person said is none."""
        return list(self._short(text) if len(text) <= _SHORT else self._find(text))

    def _find(self, text: str) -> tuple[Hit, ...]:
        found = find(text, words=self._words, kinds=self._kinds)
        return tuple(hit for hit in found if not self._spared or self._fingerprint(hit) not in self._spared)

    def _placeholder(self, hit: Hit) -> str:
        self.count += 1
        fingerprint = self._fingerprint(hit)
        if fingerprint not in self.used:
            self.used[fingerprint] = f"[{hit.kind.upper()}_{_number(self._db, hit.kind, fingerprint)}]"
        return self.used[fingerprint]

    def _fingerprint(self, hit: Hit) -> str:
        return fingerprint(self._key, hit.identity)


def fingerprint(key: str, identity: str) -> str:
    """Of a value, whatever kind it was taken for."""
    return hmac.new(key.encode(), identity.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def decide(db: Database, values: Sequence[str], *, personal: bool, words: Sequence[str] = ()) -> int:
    """Remember that these are no personal data, or forget that again. How many of them are of a kind that is found."""
    key, known = _key(db), 0
    statement = (
        "DELETE FROM not_personal WHERE fingerprint = ?"
        if personal
        else "INSERT OR IGNORE INTO not_personal VALUES (?)"
    )
    with transaction(db):
        for value in values:
            found = [hit for hit in find(value, words=words) if hit.text == value]
            known += bool(found)
            for identity in {value, value.lower(), *(hit.identity for hit in found)}:
                execute(db, statement, (fingerprint(key, identity),))
    return known


def forget(db: Database, redactor: Redactor) -> None:
    """Keep the numbers of the values that were replaced, so that none is given again, but nothing of the values."""
    with transaction(db):
        for one in redactor.used:
            execute(db, "UPDATE placeholders SET fingerprint = NULL WHERE fingerprint = ?", (one,))
    redactor.used.clear()


def _key(db: Database) -> str:
    with transaction(db):
        if not (key := conversations.recall(db, _KEY)):
            key = secrets.token_hex(32)
            conversations.remember(db, _KEY, key)
    return key


def _number(db: Database, kind: str, fingerprint: str) -> int:
    known = "SELECT number FROM placeholders WHERE fingerprint = ?"
    if rows := select(db, known, (fingerprint,)):
        return int(rows[0][0])
    execute(
        db,
        "INSERT INTO placeholders (kind, number, fingerprint) "
        "SELECT ?, coalesce(max(number), 0) + 1, ? FROM placeholders WHERE kind = ? "
        "ON CONFLICT (fingerprint) DO NOTHING",
        (kind, fingerprint, kind),
    )
    return int(select(db, known, (fingerprint,))[0][0])
