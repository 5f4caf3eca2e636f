"""A template's replies are learned without it; what is told of the gap is what PEFT and transformers say one by one."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from sqlite_utils import Database
from transformers import AutoModelForCausalLM

from assistant.engine.models.catalogue import DEFAULT
from assistant.errors import StoreError, TrainingRefused
from assistant.paths import Paths
from assistant.store import conversations, deletion, messages
from assistant.store.database import open_database
from assistant.store.training import datasets, runs
from assistant.tasks.rows import InputUnreadable
from finetune import bake
from finetune.bake import Answers, Asked, Recipe
from finetune.base import opened_base
from finetune.cli.group import top
from finetune.config import Method, TrainConfig
from finetune.data.example import Example
from finetune.export import merge
from finetune.run_folder import only_training
from finetune.train import run
from prompts import template as templates
from prompts.errors import InputsInvalid
from prompts.library import Library
from tests.finetune.conftest import TINY, WORDS
from tests.finetune.train.test_train import SMALL

SHOUT = """---
kind: chat
description: Shouts
language: en
inputs:
  end: {description: Last word}
sampling: {temperature: 0, max_tokens: 12}
examples:
  - {input: the fox, output: THE FOX}
---
# system
Say it loud and end with {{ end }}.
"""


def recipe(text: str = SHOUT, **values: str) -> Recipe:
    return Recipe(templates.parse(text, name="shout"), values or {"end": "dog"})


def words_of(number: int) -> str:
    return " ".join(WORDS[(number + 3 * at) % 13] + str(number * at) for at in range(4))


def baked(db: Database, home: Paths, count: int = 24) -> datasets.Dataset:
    """A dataset of replies as a template could have made them."""
    request = bake.request_of(recipe(), None, TINY, 0)
    asked = [Asked(words_of(number), f"said:{number}") for number in range(count)]
    found = Answers([one.answered(f"the dog {one.text} sleeps") for one in asked])
    return bake.freeze(db, "shout", request, found, opened_base(home, TINY).tokenizer_of_rows(), None)


# -- what can be baked --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("sentiment", "of kind label and can't be baked: .* chat and text"),
        ("entities", "of kind extract and can't be baked"),
        ("commonsense-steps", "can't be baked"),
    ],
)
def test_what_does_not_write_a_reply_is_refused(home: Paths, name: str, why: str) -> None:
    with pytest.raises(TrainingRefused, match=why):
        Recipe(Library(home.templates).find(name), {})


def test_inputs_that_the_template_needs_are_named() -> None:
    with pytest.raises(InputsInvalid, match=r"needs end \(Last word\)"):
        Recipe(templates.parse(SHOUT, name="shout"), {})
    with pytest.raises(InputsInvalid, match="has no input loud"):
        recipe(end="dog", loud="very")


def test_what_only_shows_at_the_end_is_refused_before(home: Paths, tiny_folder: Path) -> None:
    assert tiny_folder
    with pytest.raises(TrainingRefused, match="qlora needs a GPU"):
        bake.refuse_training(home, TrainConfig(method="qlora"))
    with only_training(home), pytest.raises(TrainingRefused, match="is running already"):
        bake.refuse_training(home, TrainConfig())


# -- inputs -------------------------------------------------------------------------------------------------------


def test_inputs_are_the_rows_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("q,input\nWhy?,a\nWhy?,b\n", encoding="utf-8")
    assert [one.text for one in bake.inputs_of_file(tmp_path / "a.csv", "q")] == ["Why?", "Why?"]
    with pytest.raises(InputUnreadable, match="row 1: no text 'text', but q, input"):
        list(bake.inputs_of_file(tmp_path / "a.csv", "text"))


def test_inputs_are_what_conversations_began_with(db: Database) -> None:
    kept = []
    for text in ("What is a fox?", "", "And a dog?"):
        one = conversations.create(db, model=TINY)
        if text:
            kept.append(messages.add_user(db, one.id, None, text))
            messages.add_user(db, one.id, kept[-1], "Later.")
    found = list(bake.inputs_of_log(db))
    assert [(one.text, one.message_id) for one in found] == list(
        zip(("What is a fox?", "And a dog?"), kept, strict=True)
    )
    assert {one.conversation.partition(":")[0] for one in found} == {"log"}


def test_what_is_deleted_from_the_log_is_deleted_from_the_bake(db: Database, home: Paths) -> None:
    for number in range(20):
        messages.add_user(db, conversations.create(db, model=TINY).id, None, words_of(number))
    asked = list(bake.inputs_of_log(db))
    found = Answers([one.answered(f"the dog {one.text} sleeps") for one in asked])
    request = bake.request_of(recipe(), None, TINY, 0)
    made = bake.freeze(db, "shout", request, found, opened_base(home, TINY).tokenizer_of_rows(), None)
    deletion.delete_conversations(db, [int(asked[7].conversation.removeprefix("log:"))])
    left = [one.body for one in datasets.examples(db, made.id)]
    assert len(left) == 19 and not any(asked[7].text in one for one in left)


def test_doubles_and_personal_data_are_gone_before_anything_is_asked(db: Database) -> None:
    request = bake.request_of(recipe(), None, TINY, 0)
    found = [Asked(words_of(number % 20), f"said:{number % 20}") for number in range(40)] + [Asked(" ", "said:x")]
    asked = bake.ready(db, found, request, lambda text: text.replace("fox", "[name]"))  # type: ignore[arg-type]
    assert len(asked) == 20 and "[name]" in " ".join(one.text for one in asked)
    assert not any("fox" in one.text for one in asked)
    with pytest.raises(TrainingRefused, match="no inputs"):
        bake.ready(db, [], request, None)
    with pytest.raises(TrainingRefused, match="one conversation"):
        bake.ready(db, found[:1], request, None)


# -- replies ------------------------------------------------------------------------------------------------------


def test_what_can_not_be_learned_of_replies_is_counted() -> None:
    found = Answers()
    outcomes = [{"text": " Arr. "}, {"text": "Arr, I", "cut": True}, {"text": "\n"}, {"error": "No."}, {"error": "2"}]
    for number, outcome in enumerate(outcomes):
        found.take(Asked(f"{number}", "said:x"), outcome)
    assert [one.example.messages[-1].content for one in found.candidates] == ["Arr."]
    assert sorted(found.left.values()) == [1, 1, 2] and found.error == "No."


def test_a_name_is_taken_by_one_recipe(db: Database, home: Paths) -> None:
    made = baked(db, home)
    assert (made.source["template"], made.source["baked"], made.source["values"]) == ("shout", TINY, {"end": "dog"})

    def there(name: str, wanted: Recipe, file: Path | None = None, model: str = TINY) -> datasets.Dataset | None:
        return bake.existing_dataset(db, name, wanted, bake.request_of(wanted, file, model, 0))

    assert there("shout", recipe()) == made
    assert there("other", recipe()) is None
    for other in (recipe(end="fox"), recipe(SHOUT + "Now.")):
        with pytest.raises(StoreError, match="made with other settings"):
            there("shout", other)
    for file, model in ((Path("inputs.txt"), TINY), (None, "another")):
        with pytest.raises(StoreError, match="made with other settings"):
            there("shout", recipe(), file, model)


def test_the_template_is_in_no_example(db: Database, home: Paths) -> None:
    made = baked(db, home)
    for one in datasets.examples(db, made.id):
        example = Example.from_json(one.body)
        assert [said.role for said in example.messages] == ["user", "assistant"] and "loud" not in one.body
    asked = recipe().prompt(example, opened_base(home, TINY))
    assert [one.content for one in asked[:3]] == ["Say it loud and end with dog.", "the fox", "THE FOX"]
    assert asked[3] == example.messages[0]


# -- the gap ------------------------------------------------------------------------------------------------------


def one_by_one(model: Any, prompt: list[int], reply: list[int]) -> tuple[float, list[int]]:
    """(negative log-likelihood of the reply, the likeliest tokens in its places)."""
    with torch.inference_mode():
        logprobs = model(torch.tensor([[*prompt, *reply]])).logits[0].log_softmax(-1)[len(prompt) - 1 : -1]
    return -float(logprobs.gather(1, torch.tensor(reply)[:, None]).sum()), logprobs.argmax(-1).tolist()


@pytest.mark.parametrize("method", ["lora", "top-layers"])
def test_the_gap_is_what_transformers_says_one_by_one(
    db: Database, home: Paths, tiny_folder: Path, method: Method
) -> None:
    made = baked(db, home, 48)
    done = run.begin(db, home, "shout", TINY, TrainConfig(**SMALL, method=method, steps=12, layers=1), lambda _: None)
    assert done is not None
    found = bake.reached(db, home, done.name, recipe())
    base = opened_base(home, TINY)
    plain = AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float32).eval()
    adapted = merge.adapted(base, home.adapters / done.name, torch.device("cpu")).eval()
    nll, same, tokens = Counter[str](), Counter[str](), 0
    test = [Example.from_json(one.body) for one in datasets.examples(db, made.id, "test")]
    for example in test:
        bare, full = (
            base.chat_format.encode(prompt) for prompt in (example.messages[:-1], recipe().prompt(example, base))
        )
        reply = [*base.chat_format.encode_reply(bare, example.messages[-1].content), 2]
        tokens += len(reply)
        prompted, wanted = one_by_one(plain, full, reply)
        before = one_by_one(plain, bare, reply)
        nll["prompted"] += prompted
        for name, (lost, chosen) in {"base": before, "adapted": one_by_one(adapted, bare, reply)}.items():
            nll[name] += lost
            same[name] += sum(map(int.__eq__, wanted, chosen)) / len(reply)
    gap = found.gap
    assert gap.items == len(test) >= 4
    for name in ("base", "adapted", "prompted"):
        assert getattr(gap, name) == pytest.approx(nll[name] / tokens, rel=1e-3)
    assert gap.remaining == pytest.approx(gap.adapted - gap.prompted)
    assert found.choices.base == pytest.approx(same["base"] / len(test), abs=0.01)
    assert found.choices.adapted == pytest.approx(same["adapted"] / len(test), abs=0.01)
    assert runs.get(db, done.name).result["baked"]["gap"]["adapted"] == gap.adapted
    assert runs.get(db, done.name).adapter_hash == done.adapter_hash
    with pytest.raises(TrainingRefused, match="was not baked from shout as it is now"):
        bake.reached(db, home, done.name, recipe(end="fox"))


# -- the command --------------------------------------------------------------------------------------------------


def test_bad_input_makes_nothing(db: Database, tmp_path: Path) -> None:
    file = tmp_path / "shout.md"
    file.write_text(SHOUT, encoding="utf-8")
    inputs = tmp_path / "inputs.txt"
    inputs.write_text("Just one line.\n", encoding="utf-8")
    asked = ["bake", str(file), "-m", TINY, "--data", str(inputs), "--name", "shout"]
    for more, error in (
        ([], InputsInvalid),
        (["--value", "end=dog"], TrainingRefused),
        (["--value", "end=dog", "--method", "qlora"], TrainingRefused),
        (["--value", "end=dog", "--data", str(tmp_path / "none.txt")], InputUnreadable),
    ):
        told = CliRunner().invoke(top, [*asked, *more])
        assert told.exit_code == 1 and isinstance(told.exception, error)
    assert CliRunner().invoke(top, asked[:-2]).exit_code == 2
    assert not datasets.every(db) and not runs.every(db)


@pytest.mark.slow
@pytest.mark.matrix
def test_the_default_model_learns_a_template(real_home: Paths, tmp_path: Path) -> None:
    """From inputs to a run that `finetune eval` takes like any other; the replies are used again."""
    file = tmp_path / "short.md"
    text = "---\nkind: chat\ndescription: d\nlanguage: en\nsampling: {temperature: 0, max_tokens: 24}\n---\n# system\n"
    file.write_text(text + "Answer in one short sentence that begins with the word Ahoy.\n", encoding="utf-8")
    things = [
        "whale",
        "boat",
        "harbour",
        "storm",
        "anchor",
        "sail",
        "island",
        "captain",
        "shark",
        "reef",
        "tide",
        "mast",
    ]
    inputs = tmp_path / "inputs.txt"
    inputs.write_text("\n".join(f"What is a {one}?" for one in things), encoding="utf-8")
    asked = ["bake", str(file), "-m", DEFAULT, "--json"]
    told = CliRunner().invoke(
        top,
        [
            *asked,
            "--data",
            str(inputs),
            "--name",
            "ahoy",
            "--replay",
            "builtin",
            "--steps",
            "4",
            "--tokens-per-step",
            "512",
        ],
    )
    assert told.exit_code == 0, told.output
    result = json.loads(told.stdout.splitlines()[-1])
    assert result["state"] == "finished"
    assert sum(result["examples"].values()) + sum(result["left_out"].values()) == len(things) + result["replayed"]
    assert result["replayed"]
    gap = result["gap"]
    assert gap["base"] > gap["adapted"] and gap["base"] > gap["prompted"]
    again = CliRunner().invoke(top, [*asked, "--resume", result["run"]])
    assert json.loads(again.stdout.splitlines()[-1])["gap"] == gap
    db = open_database(real_home.database)
    dataset = datasets.get(db, "ahoy")
    assert dataset.source["baked"] == DEFAULT
    probe = tmp_path / "general.txt"
    probe.write_text("The harbour was quiet. Two boats came in before the storm.\n", encoding="utf-8")
    proved = CliRunner().invoke(top, ["eval", result["run"], "--probe", str(probe), "--json"])
    assert proved.exit_code == 0, proved.output
    measures = {one["key"]: one for one in json.loads(proved.stdout.splitlines()[-1])["measures"]}
    assert measures["perplexity"]["adapted"] < measures["perplexity"]["base"]
    db.close()
