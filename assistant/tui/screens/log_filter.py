"""The filter line's suggestions: the words it knows, and the names that the log has."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from sqlite_utils import Database
from textual.suggester import Suggester

from assistant.store import curation, exchanges
from assistant.store.filter_words import completed


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
