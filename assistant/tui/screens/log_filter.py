"""The filter line's suggestions: the words it knows, and the names that the log has."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from sqlite_utils import Database
from textual.suggester import Suggester

from assistant.store import curation, exchanges
from assistant.store.filter_words import completed


class FilterSuggester(Suggester):
    """Goes on with the last word. The names are asked for when the first is needed."""

    def __init__(self, names: Callable[[], Awaitable[Mapping[str, Sequence[str]]]]) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._ask = names
        self._names: Mapping[str, Sequence[str]] | None = None

    async def get_suggestion(self, value: str) -> str | None:
        if self._names is None:
            self._names = await self._ask()
        return completed(value, self._names)


def names_in(db: Database) -> dict[str, list[str]]:
    """The models, adapters, templates and tags that there are."""
    names = {
        "model": exchanges.values_of(db, "model"),
        "adapter": exchanges.values_of(db, "adapter"),
        "template": exchanges.values_of(db, "template"),
        "tag": list(curation.all_tags(db)),
    }
    return {name: [value for value in values if value or name == "adapter"] for name, values in names.items()}
