"""Where files lie. `ASSISTANT_HOME` moves everything; otherwise the system's own folders."""

import os
from dataclasses import dataclass
from pathlib import Path

from assistant.errors import AssistantError


@dataclass(frozen=True, slots=True)
class Paths:
    """Two folders, `config` and `data`, and what lies in them. All of it is private to the user."""

    config: Path
    data: Path

    @classmethod
    def from_environment(cls) -> "Paths":
        """`$ASSISTANT_HOME/{config,data}` if that is set, else the platform's folders for `assistant`."""
        if home := os.environ.get("ASSISTANT_HOME"):
            root = Path(home).expanduser().absolute()
            return cls(root / "config", root / "data")
        from platformdirs import user_config_path, user_data_path

        return cls(user_config_path("assistant", appauthor=False), user_data_path("assistant", appauthor=False))

    @property
    def config_file(self) -> Path:
        return self.config / "config.toml"

    @property
    def templates(self) -> Path:
        """The user's own templates."""
        return self.config / "prompts"

    @property
    def database(self) -> Path:
        return self.data / "log.db"

    @property
    def models(self) -> Path:
        return self.data / "models"

    @property
    def adapters(self) -> Path:
        """What was learned: a folder for each adapter."""
        return self.data / "adapters"

    @property
    def runs(self) -> Path:
        """Trainings: a folder for each, with its checkpoints."""
        return self.data / "runs"

    @property
    def run(self) -> Path:
        """Lock, address and log of the engine process."""
        return self.data / "run"

    def create(self) -> "Paths":
        """Make the folders, each readable by its owner alone. Raises `AssistantError` where that can't be done."""
        for folder in (self.config, self.data, self.templates, self.models, self.adapters, self.runs, self.run):
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise AssistantError(
                    f"Can't make the folder {folder}: {error.strerror}. "
                    "Make it writable, or set ASSISTANT_HOME to a folder that is."
                ) from error
        return self


def cache_folder() -> Path:
    """Where what can be made again is kept, such as code built for this machine: `$ASSISTANT_HOME/cache` if that is
    set, else the platform's folder. Private to the user; made by whoever writes to it."""
    if home := os.environ.get("ASSISTANT_HOME"):
        return Path(home).expanduser().absolute() / "cache"
    from platformdirs import user_cache_path

    return user_cache_path("assistant", appauthor=False)
