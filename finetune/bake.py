"""Bake a template into a model: learn to reply as with the template, without it.

The base answers each input with the template; the bare input and the reply are learned ("hard" context distillation,
https://arxiv.org/abs/2112.00861). On held-out replies `reached` measures how much of the gap between the base without
and with the template is closed.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import PartialState
from sqlite_utils import Database

from assistant.errors import StoreError, TrainingRefused
from assistant.paths import Paths
from assistant.store import conversations
from assistant.store.files.exports import stored
from assistant.store.training import datasets, runs
from assistant.store.training.datasets import Dataset
from finetune.base import Base, base_of
from finetune.config import TrainConfig
from finetune.data import dataset
from finetune.data.dataset import Request
from finetune.data.example import Example
from finetune.data.example_files import text_key
from finetune.data.select import Candidate, Selection
from finetune.data.split import split
from finetune.data.tokens import Row, Tokenizer
from finetune.network.both import Both
from finetune.network.greedy import Reply
from finetune.prove import prove
from finetune.prove.paired import Gap, Measure, share
from finetune.prove.paired import gap as measured_gap
from finetune.run_folder import only_training
from finetune.train import run
from prompts.message import Message
from prompts.render import complete, render
from prompts.sandbox import INPUT
from prompts.template import Template

if TYPE_CHECKING:
    from assistant.store.redaction.redactor import Redactor
    from assistant.tasks.task import Outcome, Task

COMPARED = 64
"""Replies whose greedy tokens are compared; each takes three forward passes."""
KINDS = ("chat", "text")
"""Kinds of template that produce a free reply."""


@dataclass(frozen=True, slots=True)
class Asked:
    """An input to answer. `conversation` and `message_id` as in `Candidate`."""

    text: str
    conversation: str
    message_id: int | None = None

    def answered(self, reply: str) -> Candidate:
        """The example to learn: the bare input and the reply."""
        said = (Message("user", self.text), Message("assistant", reply))
        return Candidate(Example(said, frozenset({1})), self.conversation, self.message_id, said=self.text)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A template with values for its inputs.

    Raises `TrainingRefused` for a template that can't be baked, `InputsInvalid` for missing or unknown values.
    """

    template: Template
    values: Mapping[str, str]

    def __post_init__(self) -> None:
        name, kind = self.template.name, self.template.kind
        if kind not in KINDS:
            raise TrainingRefused(
                f"{name} is of kind {kind} and can't be baked: only the kinds {' and '.join(KINDS)} write a reply. "
                f"For labels use `finetune data --kind label --template {name}`."
            )
        if self.template.reasoning:
            raise TrainingRefused(f"{name} reasons before its answer and can't be baked. Choose another template.")
        complete(self.template, self.values)

    def prompt(self, example: Example, base: Base) -> list[Message]:
        """The prompt with the template, for the input of an example."""

        def cut(text: str, tokens: int) -> str:
            return str(base.tokenizer.decode(base.tokenizer.encode(text, add_special_tokens=False)[:tokens]))

        return render(self.template, example.messages[:-1], self.values, cut=cut)

    def is_of(self, dataset_: Dataset) -> bool:
        """Whether the replies of a dataset were made with this template and these values."""
        source = dataset_.source
        same = source.get("template_hash") == self.template.hash and source.get("values") == dict(self.values)
        return bool(source.get("baked")) and same


def refuse_training(paths: Paths, config: TrainConfig) -> None:
    """Raise `TrainingRefused` for settings that the training would refuse, before any reply is generated."""
    if PartialState().num_processes > 1:
        raise TrainingRefused("A bake runs in one process. Start it without `accelerate launch`.")
    run.refuse_settings(config)
    with only_training(paths):
        pass


# -- inputs -------------------------------------------------------------------------------------------------------


def inputs_of_file(path: Path, column: str = INPUT) -> Iterator[Asked]:
    """Inputs from a .jsonl, .csv or .txt file. Raises `InputUnreadable`."""
    from assistant.tasks.rows import InputUnreadable, rows

    for number, row in enumerate(rows(path), 1):
        text = row.get(column)
        if not isinstance(text, str):
            known = ", ".join(row) or "nothing"
            raise InputUnreadable(f"{path}, row {number}: no text {column!r}, but {known}. Name the input column.")
        yield Asked(text, text_key(text))


def inputs_of_log(db: Database) -> Iterator[Asked]:
    """The first user message of each conversation in the log, oldest first."""
    ids = sorted(one.id for one in conversations.page(db, 0, -1))
    for conversation in stored.read(db, ids):
        if conversation.path and (first := conversation.path[0]).role == "user":
            yield Asked(first.content, f"log:{conversation.fields['id']}", first.id)


def ready(db: Database, found: Sequence[Asked], request: Request, redactor: "Redactor | None") -> list[Asked]:
    """The inputs to answer: without empty inputs and duplicates, personal data replaced.

    Raises `TrainingRefused` if there are too few to split into the parts of a dataset.
    """
    first: dict[str, Asked] = {}
    for one in found:
        text = redactor(one.text) if redactor else one.text
        if text.strip():
            first.setdefault(text, replace(one, text=text))
    if not first:
        where = f"{request.files[0]} holds" if request.files else "The log holds"
        raise TrainingRefused(f"{where} no inputs. Give --data a file with one input a line, or chat first.")
    split([one.answered("") for one in first.values()], request.shares, request.seed, dataset.tested(db))
    return list(first.values())


def request_of(
    recipe: Recipe, file: Path | None, model: str, seed: int, replay: Path | None = None, share: float = 0.1
) -> Request:
    """Description of the dataset's origin. `replay`, `share`: general text to mix in, against forgetting."""
    selection = Selection(template=recipe.template, values=recipe.values)
    return Request(selection, (file,) if file else (), seed=seed, replay=replay, replay_share=share, baked=model)


# -- replies ------------------------------------------------------------------------------------------------------


@dataclass
class Answers:
    """Replies so far, and counts of those that can't be learned, by reason."""

    candidates: list[Candidate] = field(default_factory=list)
    left: Counter[str] = field(default_factory=Counter)
    error: str = ""
    """Message of the first failure."""

    def take(self, one: Asked, outcome: "Outcome") -> None:
        """Record the outcome of an input."""
        text = outcome.get("text", "").strip()
        if "error" in outcome:
            self.left["inputs that failed"] += 1
            self.error = self.error or outcome["error"]
        elif outcome.get("cut"):
            self.left["replies cut at max_tokens, whose end can't be learned"] += 1
        elif not text:
            self.left["empty replies"] += 1
        else:
            self.candidates.append(one.answered(text))


async def answers(task: "Task", inputs: Sequence[Asked], progress: Callable[[int, int], None]) -> Answers:
    """The task's replies to the inputs. Raises `TrainingRefused` if none can be learned."""
    from assistant.tasks.run import asked

    found = Answers()
    outcomes: AsyncGenerator[Outcome] = asked(task, ({task.column: one.text} for one in inputs))
    async with aclosing(outcomes):
        done = 0
        async for outcome in outcomes:
            found.take(inputs[done], outcome)
            done += 1
            progress(done, len(inputs))
    if not found.candidates:
        told = "; ".join(f"{count:,} {what}" for what, count in found.left.items())
        raise TrainingRefused(f"No reply can be learned: {told}. {found.error or 'Raise max_tokens in the template.'}")
    return found


def freeze(
    db: Database, name: str, request: Request, found: Answers, tokenizer: Tokenizer, redactor: "Redactor | None"
) -> Dataset:
    """Store inputs and replies as a dataset."""
    return dataset.freeze(db, name, dataset.made_of(db, request, found.candidates, found.left, tokenizer, redactor))


def existing_dataset(db: Database, name: str, recipe: Recipe, request: Request) -> Dataset | None:
    """The dataset of that name, if it was made with the same settings. Raises `StoreError` if it was not."""
    found = next((one for one in datasets.every(db) if one.name == name), None)
    wanted = request.as_json()
    alike = found and all(found.source.get(one) == wanted[one] for one in ("baked", "file", "replay", "replay_share"))
    if found and not (alike and recipe.is_of(found)):
        raise StoreError(f"There is already a dataset {name!r}, made with other settings. Choose another --name.")
    return found


# -- result -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reached:
    """Figures on held-out replies. `choices`: share of the reply's tokens whose greedy choice equals the base's with
    the template."""

    gap: Gap
    choices: Measure
    too_long: int
    """Held-out replies that don't fit the context together with the template."""

    def as_json(self) -> dict[str, Any]:
        """The figures as plain JSON."""
        return {"gap": asdict(self.gap), "choices": self.choices.as_json(), "too_long": self.too_long}


def reached(db: Database, paths: Paths, run_name: str, recipe: Recipe, *, seed: int = 0) -> Reached:
    """Measure how closely a run reproduces its template, and store it with the run. Raises `TrainingRefused`."""
    about = prove.subject(db, paths, run_name)
    if not recipe.is_of(about.dataset):
        raise TrainingRefused(
            f"The dataset of {run_name} was not baked from {recipe.template.name} as it is now with these values. "
            "Give the same template and values, or bake under another --name."
        )
    base = base_of(paths, about.run)
    tokenizer = base.tokenizer_of_rows(base.context_tokens)
    plain: list[list[Row]] = []
    prompted: list[list[Row]] = []
    groups: list[object] = []
    test = list(datasets.examples(db, about.dataset.id, "test"))
    for one in test:
        example = Example.from_json(one.body)
        reply = (example.messages[-1].content,)
        before, after = (tokenizer.alternatives(some, reply) for some in _prompts(recipe, example, base))
        if before and after:
            plain, prompted, groups = [*plain, before], [*prompted, after], [*groups, one.group_id]
    if not plain:
        raise TrainingRefused("No held-out reply fits the context with the template before it.")
    both = Both.load(base, about.folder, TrainConfig.from_json(about.run.config["settings"]).precision)
    found = Reached(
        _gap(both, plain, prompted, groups, seed), _choices(both, plain, prompted, groups, seed), len(test) - len(plain)
    )
    runs.set_result(db, about.run.id, {**about.run.result, "baked": found.as_json()}, about.run.adapter_hash)
    return found


def _prompts(recipe: Recipe, example: Example, base: Base) -> tuple[Sequence[Message], Sequence[Message]]:
    """(prompt without the template, prompt with it)."""
    return example.messages[:-1], recipe.prompt(example, base)


def _gap(
    both: Both, plain: Sequence[Sequence[Row]], prompted: Sequence[Sequence[Row]], groups: Sequence[object], seed: int
) -> Gap:
    base, adapted = both.sums(plain)
    with_template, _ = both.sums(prompted)
    before, after, wanted = ([-sum(one) for one in sums] for sums in (base, adapted, with_template))
    return measured_gap(before, after, wanted, [row.supervised for (row,) in plain], groups, seed=seed)


def _choices(
    both: Both, plain: Sequence[Sequence[Row]], prompted: Sequence[Sequence[Row]], groups: Sequence[object], seed: int
) -> Measure:
    wanted = both.choices(_replies(prompted), adapted=False)
    before, after = (
        [_alike(*pair) for pair in zip(wanted, both.choices(_replies(plain), adapted=adapted), strict=True)]
        for adapted in (False, True)
    )
    return share("choices", "same choice as with the template", before, after, groups[:COMPARED], seed=seed)


def _replies(items: Sequence[Sequence[Row]]) -> list[Reply]:
    begins = [(row.ids.tolist(), int(row.learned.argmax())) for (row,) in items[:COMPARED]]
    return [Reply(ids[:begin], ids[begin:], torch.empty(0)) for ids, begin in begins]


def _alike(some: Sequence[int], others: Sequence[int]) -> float:
    return sum(one == other for one, other in zip(some, others, strict=True)) / len(some)
