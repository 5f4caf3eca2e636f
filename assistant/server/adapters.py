"""The adapters that requests can name: folders in the data folder, each in PEFT's format."""

from dataclasses import dataclass
from pathlib import Path

from assistant.errors import AdapterUnknown


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

    def find(self, name: str | None) -> Path | None:
        """Where an adapter lies; None for no name. Raises `AdapterUnknown`."""
        if not name:
            return None
        if self.paths and Path(name).is_absolute():
            return Path(name)
        if name not in (known := self.names()):
            raise AdapterUnknown(f"There is no adapter {name!r} here. There are: {', '.join(known) or 'none'}.")
        return self.folder / name
