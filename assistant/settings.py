"""`config.toml`, read into frozen dataclasses. Standard library only.

Every field's docstring is its documentation: `assistant config` prints it.
"""

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from assistant.errors import SettingsError

EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """`[engine]`: the process that runs the model."""

    keep_alive_s: float = 0.0
    """Seconds the engine stays loaded after its last client has left. 0: it ends with its last client."""
    device: str = "auto"
    """`auto` (a GPU if there is one), `cpu`, `cuda` or `cuda:1`."""
    dtype: str = "auto"
    """`auto` (what a GGUF file has; else 16 bits where the weights or the hardware are made for them), `float32`,
    `bfloat16`, `float16`, `int8` or `int4`."""
    kv_cache_mb: int = 1024
    """Megabytes of what the model keeps of conversations, so that one you come back to is not read again."""
    threads: int = 0
    """CPU threads for the model; 0: one for each physical core."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole of `config.toml`."""

    model: str = ""
    """Model of a new conversation; empty: the one chosen last, or the catalogue's default."""
    template: str = "plain"
    """Template of a new conversation."""
    meaning_model: str = "all-minilm-l6-v2"
    """Model for search by meaning, used once it is pulled; empty: none. Another one knows the whole log anew."""
    theme: str = ""
    """Name of a theme; empty: the one chosen last."""
    redact_words: tuple[str, ...] = ()
    """Words of your own that are redacted like personal data, such as names: `["Anna Schmidt", "王小明"]`."""
    sampling: Mapping[str, Any] = field(default_factory=lambda: EMPTY)
    """`[sampling]`: defaults of a new conversation, such as `temperature = 0.7`."""
    engine: EngineSettings = field(default_factory=EngineSettings)
    keys: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    """`[keys]`: binding id = key or keys with commas, such as `"chat.regenerate" = "r,f5"`."""


def load(file: Path) -> Settings:
    """The settings in `file`, or the defaults if there is none.

    Raises `SettingsError` naming file, key and what was expected.
    """
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Settings()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{file} can't be read: {error}. Mend the file or move it away.") from error
    return _build(Settings, table, file, "")


T = TypeVar("T")


def _build(cls: type[T], table: Mapping[str, Any], file: Path, prefix: str) -> T:
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in fields:
            known = ", ".join(prefix + name for name in fields)
            raise SettingsError(f"{file}: unknown setting {prefix + key!r}. Known settings: {known}.")
        values[key] = _value(fields[key].type, value, file, prefix + key)
    return cls(**values)


def _value(kind: Any, value: Any, file: Path, key: str) -> Any:
    if kind is EngineSettings:
        if isinstance(value, dict):
            return _build(EngineSettings, value, file, key + ".")
        expected = "a table"
    elif kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif kind in (int, str, bool):
        if type(value) is kind:
            return value
        expected = {int: "a whole number", str: "a text in quotes", bool: "true or false"}[kind]
    elif kind == tuple[str, ...]:
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            return tuple(value)
        expected = "a list of texts in quotes"
    elif isinstance(value, dict):
        if key != "keys" or all(isinstance(v, str) for v in value.values()):
            return MappingProxyType(value)
        expected = "keys as texts in quotes"
    else:
        expected = "a number" if kind is float else "a table"
    raise SettingsError(f"{file}: {key} is {value!r}, but must be {expected}.")
