"""LLaMA-Factory's `dataset_info.json`: what the columns and roles of a data set beside it are called."""

from collections.abc import Mapping
from typing import Any

from assistant.store.files.values.source import Source

FILE = "dataset_info.json"
_COLUMNS = {
    "prompt": "instruction",
    "query": "input",
    "response": "output",
    "messages": "conversations",
    **{
        name: name
        for name in ("history", "system", "tools", "images", "videos", "audios", "chosen", "rejected", "kto_tag")
    },
}
"""Its names of columns, and the names under which rows are read here."""
_ROLES = {
    "user_tag": "human",
    "assistant_tag": "gpt",
    "observation_tag": "observation",
    "function_tag": "function_call",
    "system_tag": "system",
}


class Columns:
    """The names in the rows of one file; `renamed` puts the usual ones in their place."""

    def __init__(self, source: Source) -> None:
        entry = _entry(source)
        columns, tags = _texts(entry.get("columns")), _texts(entry.get("tags"))
        self._columns = {columns[name]: usual for name, usual in _COLUMNS.items() if columns.get(name, usual) != usual}
        self._names = {
            tags[name]: usual for name, usual in (("role_tag", "from"), ("content_tag", "value")) if name in tags
        }
        self._roles = {tags[name]: usual for name, usual in _ROLES.items() if name in tags}

    def renamed(self, row: Any) -> Any:
        """The row under the usual names."""
        if not isinstance(row, dict) or not (self._columns or self._names or self._roles):
            return row
        named = {name: found for name, found in row.items() if name not in self._columns}
        for name, usual in self._columns.items():
            if name in row:
                named[name if usual in named else usual] = row[name]
        for name in ("conversations", "chosen", "rejected"):
            if isinstance(named.get(name), list):
                named[name] = [self._message(one) for one in named[name]]
            elif isinstance(named.get(name), dict):
                named[name] = self._message(named[name])
        return named

    def _message(self, message: Any) -> Any:
        if not isinstance(message, dict):
            return message
        named = {self._names.get(name, name): found for name, found in message.items()}
        role = named.get("from")
        return {**named, "from": self._roles.get(role, role)} if isinstance(role, str) else named


def _entry(source: Source) -> Mapping[str, Any]:
    """The description of this file."""
    name = source.name.replace("\\", "/").rsplit("/", 1)[-1]
    entries = [one for one in source.object_beside(FILE).values() if isinstance(one, dict)]
    return next((one for one in entries if str(one.get("file_name")).rsplit("/", 1)[-1] == name), {})


def _texts(value: object) -> dict[str, str]:
    return {name: one for name, one in value.items() if isinstance(one, str)} if isinstance(value, dict) else {}
