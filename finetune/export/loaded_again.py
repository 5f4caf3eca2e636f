"""Load an export again with the programs it is for, and compare it with the run's own model."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from assistant.engine.formats import gguf
from assistant.engine.formats.gguf_writer import PROBE
from assistant.errors import TrainingError, TrainingRefused
from finetune.base import Base
from finetune.export import in_llama_cpp, merge
from finetune.network import greedy
from finetune.network.greedy import Agreement, InTransformers, Reply
from finetune.network.trainee import device_of


@dataclass(frozen=True, slots=True)
class Checked:
    """A program's comparison. `texts_equal`: whether it tokenizes text identically."""

    program: str
    agreement: Agreement
    texts_equal: bool = True

    @property
    def passed(self) -> bool:
        """Whether rounding to 16 bits explains all differences."""
        return self.agreement.explained and self.texts_equal

    @property
    def sentence(self) -> str:
        """The result as a sentence."""
        one = self.agreement
        said = (
            f"{self.program}: {one.equal_tokens} of {one.tokens} greedy tokens are the same, {one.equal_replies} of "
            f"{one.prompts} replies whole."
        )
        if not one.explained:
            said += f" A choice differs by {one.margin_nats:.2f} nats, more than 16 bits explain: don't rely on it."
        if not self.texts_equal:
            said += " It cuts text into other tokens than the model was trained with."
        return said

    def as_json(self) -> dict[str, Any]:
        """The comparison as plain JSON."""
        return {"with": self.program, **self.agreement.as_json(), "texts_equal": self.texts_equal}


def by_peft(folder: Path, base: Base, replies: Sequence[Reply]) -> Checked:
    """Check an adapter, loaded by PEFT."""
    model = InTransformers(merge.adapted(base, folder, device_of()))
    return Checked("transformers and PEFT", greedy.compare(replies, model.choices(replies)))


def by_transformers(folder: Path, base: Base, replies: Sequence[Reply], program: str = "transformers") -> Checked:
    """Check a model folder, loaded by transformers."""
    export = Base.open(folder)
    model = InTransformers(export.load(torch.float32, device_of()))
    same = all(export.chat_format.encode_following(one) == base.chat_format.encode_following(one) for one in PROBE)
    return Checked(program, greedy.compare(replies, model.choices(replies)), same)


def by_our_reader(file: Path, base: Base, replies: Sequence[Reply]) -> Checked:
    """Check a GGUF file, read by the engine."""
    with TemporaryDirectory(dir=file.parent, prefix=".read-") as read:
        gguf.convert(file, Path(read) / "read", lambda _: None)
        return by_transformers(Path(read) / "read", base, replies, "our GGUF reader")


def by_llama_cpp(python: str, file: Path, base: Base, replies: Sequence[Reply]) -> Checked:
    """Check a GGUF file in llama.cpp, in a Python with llama-cpp-python. Raises `TrainingError` if that fails."""
    asked = {"file": str(file), "replies": [[one.prompt, one.ids] for one in replies], "texts": PROBE}
    script = Path(in_llama_cpp.__file__).read_text(encoding="utf-8")  # run as a file it would import this package
    try:
        done = subprocess.run(
            [python, "-c", script],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            check=False,
            cwd=file.parent,
        )
    except OSError as error:
        raise TrainingRefused(f"{python} can't be started: {error.strerror}. Give --llama-cpp a Python.") from error
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise TrainingError(f"llama.cpp failed to load the GGUF file, which was not kept: {said}")
    told = json.loads(done.stdout)
    same = told["tokens"] == [base.tokenizer(one, add_special_tokens=False)["input_ids"] for one in PROBE]
    return Checked(f"llama.cpp (llama-cpp-python {told['version']})", greedy.compare(replies, told["choices"]), same)
