"""The adapters that requests can name: folders in the data folder, each in PEFT's format."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from assistant.errors import AdapterError, AdapterUnknown


@dataclass(frozen=True, slots=True)
class Adapters:
    """Those in `folder`, by the names of their folders."""

    folder: Path
    paths: bool = False
    """Whether a request may also give an absolute path."""

    def names(self) -> list[str]:
        """Of those there are."""
        try:
            return sorted(one.name for one in self.folder.iterdir() if (one / "adapter_config.json").is_file())
        except OSError:
            return []

    def find(self, name: str | None, hash_: str | None = None) -> Path | None:
        """Where an adapter lies; None for no name. Raises `AdapterUnknown`, or `AdapterError` where a hash was given
        and its files have another.
        """
        if not name:
            return None
        folder = self._folder(name)
        if hash_ and hash_of(folder) != hash_:
            raise AdapterError(
                f"The files of the adapter {name} are others than when it was registered. Choose the base or another "
                "adapter, or `finetune rollback`."
            )
        return folder

    def _folder(self, name: str) -> Path:
        if self.paths and Path(name).is_absolute():
            return Path(name)
        if name not in (known := self.names()):
            raise AdapterUnknown(f"There is no adapter {name!r} here. There are: {', '.join(known) or 'none'}.")
        return self.folder / name


def hash_of(folder: Path) -> str:
    """What names the adapter that lies there now. Raises `AdapterError`."""
    from assistant.engine.adapters import stamp_of

    return _hash(folder, tuple(stamp_of(folder)))


@lru_cache(maxsize=16)
def _hash(folder: Path, stamp: tuple[int, ...]) -> str:  # noqa: ARG001  the same as long as the files stay
    from assistant.engine.adapter_folder import AdapterFolder

    return AdapterFolder.open(folder).hash
