"""What the Log screen offers: words and names for the filter line, and columns to sort by."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from sqlite_utils import Database
from textual.suggester import Suggester

from assistant import ratings
from assistant.store.judgements import curation
from assistant.store.search import exchanges
from assistant.store.search.filter import Sort
from assistant.store.search.filter_words import completed

SORTS: Mapping[Sort, str] = {
    "time": "when it was made",
    "conversation": "the conversation",
    "model": "",
    "adapter": "",
    "template": "",
    "rating": ", ".join(ratings.sorted_words()),
    "decision": "keep, skip, undecided",
    "tags": "",
    "tokens": "tokens of the reply",
    "surprise": "how unlikely the model found its reply",
    "length": "characters of the reply",
}
"""What rows can be sorted by, with what it means where the name doesn't say it."""


class FilterSuggester(Suggester):
    """Goes on with the last word; `names` asks the log for what there is."""

    def __init__(self, names: Callable[[], Awaitable[Mapping[str, Sequence[str]]]]) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._names = names

    async def get_suggestion(self, value: str) -> str | None:
        return completed(value, await self._names())


def names_in(db: Database) -> dict[str, list[str]]:
    """The models, adapters, templates and tags that there are."""
    names = {
        "model": exchanges.values_of(db, "model"),
        "adapter": exchanges.values_of(db, "adapter"),
        "template": exchanges.values_of(db, "template"),
        "tag": list(curation.all_tags(db)),
    }
    return {name: [value for value in values if value or name == "adapter"] for name, values in names.items()}
