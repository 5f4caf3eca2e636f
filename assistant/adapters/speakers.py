"""Who speaks for a model: the base alone, the adapter in use, or a named adapter. Only this module decides it.

An id names both, as the API lists them: `MODEL` is whatever is in use for the model, `MODEL:base` the base alone,
`MODEL:NAME` the adapter of that name.
"""

import sqlite3
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from assistant.adapters.folder import CHANGED, CONFIG, HEAD, hash_of, trouble
from assistant.errors import AdapterError, AdapterUnknown
from assistant.store.training import registered

BASE_NAME = "base"
"""Stands for the base alone wherever an adapter's name is expected. No adapter can have this name."""
MARK = ":"


@dataclass(frozen=True, slots=True)
class Speaker:
    """An adapter by the name (or path) of its folder, with its hash where it is registered. Both empty: the base."""

    name: str = ""
    hash: str = ""

    def id(self, model: str) -> str:
        """What an answer says that it was made with."""
        return f"{model}{MARK}{self.name}" if self.name else model


BASE = Speaker()


def speaker(registry: sqlite3.Connection, model: str, wanted: str | None) -> Speaker:
    """Who makes the next reply of `model`. `wanted`: an adapter's name, empty or `base` for the base alone, None for
    what is in use. `registry`: a connection to the log.

    Raises `AdapterError` for an adapter that is registered for another model, and `AdapterUnknown` where what is in use
    is registered no more.
    """
    if wanted is None:
        return _in_use(registry, model)
    if wanted in ("", BASE_NAME):
        return BASE
    known = registered.of_name(registry, wanted)
    mine = next((one for one in known if one.model == model), None)
    if known and mine is None:
        raise AdapterError(f"The adapter {known[0].name} was trained on {known[0].model}, and can't speak for {model}.")
    return Speaker(mine.name, mine.hash) if mine else Speaker(wanted)


def _in_use(registry: sqlite3.Connection, model: str) -> Speaker:
    hash_ = registered.in_use_hash(registry, model)
    if not hash_:
        return BASE
    if (found := registered.of_hash(registry, hash_)) is None:
        raise AdapterUnknown(
            f"The adapter in use for {model}, {hash_[:12]}, was deleted. Promote another, or take it back: "
            f"`finetune rollback -m {model}`."
        )
    return Speaker(found.name, found.hash)


def speaker_of(registry: sqlite3.Connection, hash_or_name: str, folders: "Folders | None" = None) -> Speaker:
    """What made a reply, as the log names it: by hash, or by name where it was cut off before the hash was known.

    An adapter that isn't registered is looked up in `folders` by the hash of its files. Raises `AdapterUnknown`.
    """
    if not hash_or_name:
        return BASE
    if known := registered.of_hash(registry, hash_or_name) or next(
        iter(registered.of_name(registry, hash_or_name)), None
    ):
        return Speaker(known.name, known.hash)
    for name, path in folders.paths_by_name().items() if folders else ():
        if hash_or_name in (name, hash_of(path)):
            return Speaker(name, "" if name == hash_or_name else hash_or_name)
    raise AdapterUnknown(
        f"The adapter {hash_or_name[:12]} that made this reply is gone, or was changed since. Make another reply."
    )


@dataclass(frozen=True, slots=True)
class Folders:
    """The adapters in `folder`, each in a folder of its name."""

    folder: Path
    paths: bool = False
    """Whether an absolute path may stand for a name."""

    def paths_by_name(self) -> dict[str, Path]:
        """Of those that can speak, sorted by name."""
        try:
            return {one.name: one for one in sorted(self.folder.iterdir()) if _can_speak(one) and one.name != BASE_NAME}
        except OSError:
            return {}

    def names(self) -> list[str]:
        """Of those that can speak, sorted."""
        return list(self.paths_by_name())

    def names_for(self, registry: sqlite3.Connection, model: str) -> list[str]:
        """Of those that can speak for a model: registered for it, or not registered at all."""
        known = {name: registered.of_name(registry, name) for name in self.names()}
        return [name for name, some in known.items() if not some or any(one.model == model for one in some)]

    def find(self, speaker: Speaker) -> Path | None:
        """The folder of a speaker, its files checked where it is registered; None for the base.

        Raises `AdapterUnknown` where there is none, `AdapterError` where its files can't be used or were changed.
        """
        if not speaker.name:
            return None
        if self.paths and Path(speaker.name).is_absolute():
            return Path(speaker.name)
        folder, known = self.folder / speaker.name, self.names()
        if folder.parent != self.folder or (not speaker.hash and speaker.name not in known):
            raise AdapterUnknown(f"There is no adapter {speaker.name!r} here. There are: {', '.join(known) or 'none'}.")
        if speaker.hash and (wrong := trouble(folder, speaker.hash)):
            raise AdapterError(
                f"The adapter {speaker.name} can't be used: {wrong} Until then choose the base or another adapter, or "
                "run `finetune rollback`."
            )
        return folder


def _can_speak(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (CONFIG, CHANGED)) and not (folder / HEAD).exists()


@dataclass(frozen=True, slots=True)
class Chosen:
    """The model that a request asks for, and who speaks for it."""

    model: str
    speaker: Speaker
    folders: Folders

    @property
    def id(self) -> str:
        """What the answer says that it was made with."""
        return self.speaker.id(self.model)

    def folder(self) -> Path | None:
        """As `Folders.find`, which reads the whole adapter the first time."""
        return self.folders.find(self.speaker)


@dataclass(frozen=True, slots=True)
class Speakers:
    """For a process that doesn't keep the log open: it is read for each answer, so that a promotion counts at once."""

    log: Path
    folders: Folders

    def chosen(
        self, id_: str, models: Callable[[], Collection[str]], adapter: str | None = None, hash_: str | None = None
    ) -> Chosen:
        """What a request asks for. `models` gives the models' names; `adapter`: as `speaker` takes it, where the id
        names none; `hash_`: the hash that the adapter's files must have.

        Raises `AdapterError` also where id and `adapter` contradict each other.
        """
        model, named = parsed(id_, models)
        if named is not None and adapter is not None and named != adapter:
            raise AdapterError(f"The model {id_!r} names the adapter {named!r}, and the field adapter {adapter!r}.")
        wanted = adapter if named is None else named
        if wanted and hash_:
            return Chosen(model, Speaker(wanted, hash_), self.folders)
        with registered.reading(self.log) as registry:
            return Chosen(model, speaker(registry, model, wanted), self.folders)

    def ids(self, models: Collection[str]) -> list[tuple[str, str, str]]:
        """(id, its model, the adapter that speaks) of everything that can be asked for. `MODEL:base` is listed only for
        models with adapters."""
        found = []
        with registered.reading(self.log) as registry:
            for model in models:
                names = self.folders.names_for(registry, model)
                in_use = registered.in_use_hash(registry, model)
                used = registered.of_hash(registry, in_use) if in_use else None
                found.append((model, model, used.name if used else ""))
                if names:
                    found.append((f"{model}{MARK}{BASE_NAME}", model, ""))
                    found.extend((f"{model}{MARK}{name}", model, name) for name in names)
        return found


def parsed(id_: str, models: Callable[[], Collection[str]]) -> tuple[str, str | None]:
    """(model, adapter as `speaker` takes it) of an id. `models` gives the models' names."""
    model, mark, name = id_.rpartition(MARK)
    return (model, name) if mark and id_ not in (known := models()) and model in known else (id_, None)
