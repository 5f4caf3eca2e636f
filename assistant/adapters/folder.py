"""The folder of an adapter: its kind and its hash, or a sentence on why it can't be used.

    adapter_config.json, adapter_model.safetensors   an adapter in PEFT's format: LoRA, IA3, prefix or prompt tuning
    changed.safetensors                              weights of the base that were trained: a version of the model

PEFT drops weights that it can't place and invents those that are missing; here both are refused.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from assistant.adapters.configs import CONFIGS, Config, Ia3Config, LoraConfig
from assistant.adapters.stored import StoredTensor, StoredTensors, not_finite
from assistant.errors import AdapterError

CONFIG, WEIGHTS, CHANGED = "adapter_config.json", "adapter_model.safetensors", "changed.safetensors"
HEAD = "entities.json"
"""Names the types of entities that an adapter's head finds. Such an adapter can't reply."""
PICKLE = "adapter_model.bin"
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
VIRTUAL = "prompt_embeddings"
"""The only tensor of prefix and prompt tuning."""
Kind = Literal["lora", "ia3", "prefix", "prompt", "weights"]
_KINDS: Mapping[str, Kind] = {"LORA": "lora", "IA3": "ia3", "PREFIX_TUNING": "prefix", "PROMPT_TUNING": "prompt"}
_TENSOR = re.compile(
    r"base_model\.model\.(?P<module>.+)\."
    r"(?:lora_(?P<lora>A|B|magnitude_vector|embedding_A|embedding_B)(?:\.weight)?|(?P<ia3>ia3_l))"
)


@dataclass(frozen=True, slots=True, eq=False)
class AdapterFolder:
    """An adapter on disk, its tensors not read. `tensors`: by the names in the file."""

    path: Path
    kind: Kind
    config: Config | None
    """None for changed weights."""
    tensors: Mapping[str, StoredTensor]
    modules: Mapping[str, Mapping[str, str]]
    """Of LoRA and IA3: module of the base -> part (`A`, `B`, `magnitude_vector`, `ia3_l`) -> name of its tensor."""
    base: str
    """The model that it was trained on, as its maker called it; empty where that isn't said. Not checked."""
    hash: str
    """SHA-256. Of LoRA: of the weights' file, the factor on each module's B A, and whether there are magnitudes; of the
    other kinds: of the names and bytes of the files."""

    @classmethod
    def open(cls, path: Path) -> "AdapterFolder":
        """Raises `AdapterError` for what is missing, damaged, not finite, of another kind, or can't be applied."""
        return _changed(path) if (path / CHANGED).is_file() else _of_peft(path)

    @property
    def file(self) -> Path:
        """The file with the tensors."""
        return self.path / (CHANGED if self.kind == "weights" else WEIGHTS)

    @property
    def numel(self) -> int:
        """How many numbers it has."""
        return sum(one.numel for one in self.tensors.values())

    @property
    def origin(self) -> str:
        """A sentence on the model that it was trained on."""
        return f"It was made for {self.base or 'a model that it does not name'}."

    def check_modules(self, modules: Set[str]) -> None:
        """Raise `AdapterError` unless the weights are for just those of the base's `modules` that the config names."""
        assert isinstance(self.config, LoraConfig | Ia3Config)
        held = self.modules.keys()
        named = {module for module in modules if self.config.targets(module)}
        if lacking := held - modules:
            raise AdapterError(
                f"The adapter in {self.path} changes {summary(lacking)}, which this model doesn't have or can't have "
                f"changed. {self.origin}"
            )
        if unnamed := held - named:
            raise AdapterError(f"{self.file} is for {summary(unnamed)}, which its {CONFIG} doesn't name.")
        if missing := named - held:
            raise AdapterError(f"{self.file} lacks weights for {summary(missing)}. Save the adapter again.")

    def check_weights(self, shapes: Mapping[str, Sequence[int]]) -> None:
        """Raise `AdapterError` unless the base, whose weights have `shapes`, has all changed weights in their shape."""
        if unknown := self.tensors.keys() - shapes.keys():
            raise AdapterError(f"{self.file} changes {summary(unknown)}, which this model doesn't have. {self.origin}")
        for name, one in self.tensors.items():
            if one.shape != (wanted := tuple(shapes[name])):
                raise AdapterError(
                    f"{self.file} has {name} of the shape {one.shape}, where this model has {wanted}. {self.origin}"
                )


def summary(names: Set[str]) -> str:
    """`model.norm and 3 more`."""
    first, *others = sorted(names)
    return f"{first} and {len(others)} more" if others else first


def opened(path: Path) -> AdapterFolder:
    """As `AdapterFolder.open`, read again only after its files have changed. Raises `AdapterError`."""
    return _opened(path, _stamp(path))


@lru_cache(maxsize=32)
def _opened(path: Path, stamp: tuple[int, ...]) -> AdapterFolder:  # noqa: ARG001  the same as long as the files are
    return AdapterFolder.open(path)


def _stamp(path: Path) -> tuple[int, ...]:
    """Differs between two states of the files; empty where there are none."""
    found: list[int] = []
    for name in (CONFIG, WEIGHTS, CHANGED):
        try:
            file = (path / name).stat()
        except OSError:
            continue
        found += [file.st_mtime_ns, file.st_size, file.st_ino]
    return tuple(found)


def hash_of(path: Path) -> str:
    """The hash of an adapter's folder; of a folder that can't reply, such as a head for entities, that of all files."""
    try:
        return opened(path).hash
    except AdapterError:
        return _digest(sorted(path.iterdir()))


def trouble(path: Path, hash_: str) -> str:
    """Why replies can't be made with the registered adapter in `path`, in a sentence; empty where they can."""
    if not path.is_dir():
        return f"{path} is gone. Put it back, or train again."
    if (path / HEAD).is_file():
        return f"it finds entities and can't reply. `finetune tag {path.name}` uses it."
    if pickled := sorted(one.name for one in path.iterdir() if one.suffix in PICKLES):
        return f"{path} holds {pickled[0]}, which is pickle and could run code. Take it out."
    try:
        now = opened(path).hash
    except AdapterError as error:
        return str(error)
    if now != hash_:
        return f"its files were changed: their hash was {hash_[:12]} and is {now[:12]}. Put them back, or train again."
    return ""


def _digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode())
        _feed(digest, file)
    return digest.hexdigest()


def _feed(digest: "hashlib._Hash", file: Path) -> None:
    with file.open("rb") as opened:
        while piece := opened.read(1 << 20):
            digest.update(piece)


def _changed(path: Path) -> AdapterFolder:
    stored = _stored(path / CHANGED)
    base = str(stored.about.get("base_model_name_or_path", ""))
    return AdapterFolder(path, "weights", None, stored.tensors, {}, base, _digest([path / CHANGED]))


def _of_peft(path: Path) -> AdapterFolder:
    config, kind = _read_config(path)
    if not (path / WEIGHTS).is_file() and (path / PICKLE).is_file():
        raise AdapterError(f"{path} has only {PICKLE}, which is pickle. Save the adapter as safetensors.")
    tensors = _stored(path / WEIGHTS).tensors
    modules = _modules(path / WEIGHTS, kind, tensors)
    hash_ = (
        _lora_hash(path, config, modules)
        if isinstance(config, LoraConfig)
        else _digest([path / CONFIG, path / WEIGHTS])
    )
    return AdapterFolder(path, kind, config, tensors, modules, config.base_model_name_or_path or "", hash_)


def _lora_hash(path: Path, config: LoraConfig, modules: Mapping[str, object]) -> str:
    digest = hashlib.sha256()
    _feed(digest, path / WEIGHTS)
    digest.update(json.dumps([config.use_dora, *((one, config.scale(one)) for one in sorted(modules))]).encode())
    return digest.hexdigest()


def _stored(file: Path) -> StoredTensors:
    try:
        found = StoredTensors.read(file)
        wrong = not_finite(file, found.tensors)
    except FileNotFoundError as error:
        raise AdapterError(f"{file.parent} lacks {file.name}. PEFT saves {CONFIG} and {WEIGHTS}.") from error
    except OSError as error:
        raise AdapterError(f"{file} can't be read: {error}.") from error
    except (ValueError, RecursionError) as error:
        raise AdapterError(f"{file} is damaged: {error}. Save the adapter again.") from error
    if not found.tensors:
        raise AdapterError(f"{file} holds no weights. Save the adapter again.")
    if wrong:
        raise AdapterError(f"{file} holds {wrong} with NaN or infinite numbers: the training failed.")
    return found


def _modules(file: Path, kind: Kind, tensors: Mapping[str, StoredTensor]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for name in tensors:
        match = _TENSOR.fullmatch(name)
        part = (match["ia3"] if kind == "ia3" else match["lora"]) if match else None
        if kind in ("prefix", "prompt") and name == VIRTUAL:
            continue
        if match is None or part is None or kind in ("prefix", "prompt"):
            raise AdapterError(f"{file} holds {name}, which can't be applied. {_advice(name)}")
        found.setdefault(match["module"], {})[part] = name
    return found


def _advice(name: str) -> str:
    if name.endswith(".bias"):
        return "Train the adapter with bias='none'."
    return "If it is the base's own matrix, save the adapter with save_pretrained(..., save_embedding_layers=False)."


def _read_config(path: Path) -> tuple[Config, Kind]:
    file = path / CONFIG
    try:
        table = json.loads(file.read_bytes())
        kind = table.get("peft_type")
    except FileNotFoundError as error:
        raise AdapterError(f"{path} lacks {CONFIG}. PEFT saves {CONFIG} and {WEIGHTS}.") from error
    except OSError as error:
        raise AdapterError(f"{file} can't be read: {error}.") from error
    except (ValueError, AttributeError, RecursionError) as error:
        raise AdapterError(f"{file} is damaged: {error}. Save the adapter again.") from error
    if kind not in CONFIGS:
        raise AdapterError(f"The adapter in {path} is of type {kind!r}. These can be applied: {', '.join(CONFIGS)}.")
    try:
        config = CONFIGS[kind].model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(one) for one in first["loc"])
        raise AdapterError(f"{file} can't be used: {where} {first['msg']}. Save the adapter again.") from error
    if refused := config.refused():
        raise AdapterError(f"{file} {refused}")
    return config, _KINDS[kind]
