"""Curated replies as worked examples: what was said, and what should be answered."""

from sqlite_utils import Database

from assistant.ratings import BAD, GOOD
from assistant.store.database import select
from assistant.store.judgements.curation import tag_name

_CURATED = f"""
SELECT asked.content, coalesce(
    (SELECT x.content FROM messages x WHERE x.corrects_id = m.id ORDER BY x.id DESC LIMIT 1), m.content
)
FROM tags t JOIN exchanges e ON e.message_id = t.message_id
JOIN messages m ON m.id = e.message_id JOIN messages asked ON asked.id = m.parent_id
WHERE t.tag = ? AND e.hidden = 0 AND (
    EXISTS (SELECT 1 FROM messages x WHERE x.corrects_id = m.id)
    OR (e.decision <> 'skip' AND e.rating <> {BAD.number}
        AND (e.decision = 'keep' OR e.rating = {GOOD.number} OR m.corrects_id IS NOT NULL))
)
ORDER BY e.created_ms, m.id
"""


def tagged(db: Database, tag: str) -> list[tuple[str, str]]:
    """(prompt, reply) of replies with this tag that are rated good, kept or corrected, the oldest first.

    Of one that was corrected its last correction. A bad or skipped one that nobody corrected is left out. Raises
    `StoreError` for what can't be a tag.
    """
    return [(asked, reply) for asked, reply in select(db, _CURATED, (tag_name(tag),))]
