"""What is new to an adapter, whether it drifts, and what is advised: real runs of a tiny model on a real log."""

import json
import math
import random
import subprocess
import sys
import warnings
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from sqlite_utils import Database
from transformers import AutoModelForCausalLM

from assistant.cli.group import run
from assistant.engine.models.catalogue import MEANING
from assistant.engine.networks.embedder import Embedder
from assistant.paths import Paths
from assistant.store import messages
from assistant.store.judgements import curation
from assistant.store.meaning.embedding_queue import keep, next_batch, open_vectors
from assistant.store.messages import Outcome
from assistant.store.training import adapters, datasets, runs
from finetune.base import Base
from finetune.cli.group import top
from finetune.data.dataset import Request, freeze, prepare
from finetune.data.select import Selection
from finetune.prove import paired
from finetune.watch import shift, two_samples
from finetune.watch.advice import Findings, advice
from finetune.watch.drift import Drift
from finetune.watch.status import Status, status
from finetune.watch.two_samples import Change, Sample, change, distance
from prompts.template import Template
from tests.assistant.store.judgements.test_curation import MADE, ask
from tests.finetune.conftest import TINY
from tests.finetune.prove.test_prove import one_by_one
from tests.finetune.train.test_train import trained

PLAIN = [first + rest for first in "bcdfghlmn" for rest in ("ake", "ox", "ump", "azy", "over", "est")]
OTHER = [f"{number}#{number * 7}" for number in range(3, 60)]


def talk(db: Database, count: int, said: Sequence[str], seed: int, rating: int = 1) -> list[int]:
    """That many conversations of random words, each reply rated. The replies."""
    drawn = random.Random(seed)
    replies = []
    for _ in range(count):
        question, answer = (" ".join(drawn.choices(said, k=8)) for _ in range(2))
        replies.append(ask(db, question, answer)[1])
        curation.rate(db, replies[-1], rating)
    return replies


def no_template(name: str) -> Template:
    raise AssertionError(name)


def looked_at(db: Database, home: Paths, *, with_drift: bool = False) -> Status:
    return status(db, home, TINY, no_template, lambda: pytest.fail("nothing is redacted"), with_drift=with_drift)


def dataset_of_log(db: Database, tiny_folder: Path) -> None:
    tokenizer = Base.open(tiny_folder).tokenizer_of_rows()
    freeze(db, "data", prepare(db, Request(Selection()), tokenizer, None))


def in_use(db: Database, home: Paths, tiny_folder: Path, steps: int = 20) -> runs.Run:
    """A run on all that is curated, its adapter in use."""
    dataset_of_log(db, tiny_folder)
    done, _ = trained(db, home, steps=steps)
    adapters.promote(db, done.adapter_hash)
    return done


def test_an_empty_log_has_nothing_new(db: Database, home: Paths) -> None:
    told = looked_at(db, home, with_drift=True)
    assert (told.fresh.conversations, told.adapter, told.drift, told.shift) == (0, None, None, None)
    assert "no dataset" in told.no_drift and told.advice.action == "wait" and told.next_dataset == ""


def test_a_first_training_is_advised_where_there_is_enough(db: Database, home: Paths) -> None:
    talk(db, 9, PLAIN, 0)
    assert looked_at(db, home).advice.sentence.startswith("Wait: 9 new conversations")
    talk(db, 1, PLAIN, 1)
    told = looked_at(db, home)
    assert told.advice.action == "train" and "no adapter" in told.advice.sentence
    assert told.advice.commands[:2] == ["finetune data --name log", "finetune train --data log --budget 10"]


def test_what_was_learned_is_not_new_and_what_is_judged_since_is(db: Database, home: Paths, tiny_folder: Path) -> None:
    replies = talk(db, 20, PLAIN, 0)
    unjudged = ask(db, "who jumps", "nobody")[1]
    in_use(db, home, tiny_folder, steps=1)
    none = dict.fromkeys(("good", "kept", "corrected", "unjudged", "votes", "thumbs_down"), 0)
    assert looked_at(db, home).fresh.judged == none
    curation.decide(db, unjudged, "keep")
    talk(db, 2, OTHER, 1, rating=-1)
    curation.correct(db, ask(db, "what", "wrong")[1], "right")
    _, one, other = ask(db, "which", "this one", "that one")
    curation.prefer(db, one, other)
    conversation = messages.get(db, replies[0]).conversation_id
    more = messages.begin_reply(db, conversation, messages.add_user(db, conversation, replies[0], "and then"), MADE)
    messages.end_reply(db, more, "the end", "complete", Outcome())
    curation.rate(db, more, 1)
    told = looked_at(db, home)
    assert told.fresh.judged == none | {"good": 1, "kept": 1, "corrected": 1, "votes": 1, "thumbs_down": 2}
    assert told.fresh.conversations == 2  # kept and corrected: the one that went on is known


def test_near_doubles_of_what_was_learned_are_not_new(db: Database, home: Paths, tiny_folder: Path) -> None:
    talk(db, 20, PLAIN, 0)
    in_use(db, home, tiny_folder, steps=1)
    talk(db, 20, PLAIN, 0)  # the same once more
    told = looked_at(db, home)
    assert told.fresh.judged["good"] == 20 and told.fresh.conversations == 0
    assert told.advice.action == "wait"


def test_drift_is_what_transformers_and_peft_say(db: Database, home: Paths, tiny_folder: Path) -> None:
    talk(db, 100, PLAIN, 0)
    done = in_use(db, home, tiny_folder, steps=25)
    talk(db, 20, OTHER, 1)
    told = looked_at(db, home, with_drift=True)
    assert told.drift is not None and told.no_drift == ""
    base = Base.open(tiny_folder)
    tokenizer = base.tokenizer_of_rows()
    rows = [row for one in told.fresh.candidates for row in tokenizer.rows(one.example)]
    plain = AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float32).eval()
    tokens = sum(row.supervised for row in rows)
    without = sum(one_by_one(plain, rows)) / tokens
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        beside = PeftModel.from_pretrained(plain, str(home.adapters / done.name)).eval()
    adapted = sum(one_by_one(beside, rows)) / tokens
    assert told.drift.loss.new == pytest.approx(adapted, rel=1e-4)
    assert told.drift.gain is not None and told.drift.gain.new == pytest.approx(without - adapted, abs=1e-4)
    assert told.drift.loss.verdict == "higher" and told.drift.loss.low > 0
    assert told.as_json()["drift"]["perplexity"]["new"] == pytest.approx(math.exp(adapted), rel=1e-4)
    assert told.advice.action == "train" and "higher than on the test part" in told.advice.sentence
    assert told.shift is not None and told.shift.shown and told.shift.words is not None
    assert told.shift.words.verdict == "other" and told.shift.unknown is not None
    assert told.shift.unknown.verdict == "higher" and told.shift.unknown.new == pytest.approx(1.0)


def test_more_of_the_same_is_no_drift(db: Database, home: Paths, tiny_folder: Path) -> None:
    talk(db, 120, PLAIN, 0)
    in_use(db, home, tiny_folder)
    talk(db, 20, PLAIN, 1)
    told = looked_at(db, home, with_drift=True)
    assert told.drift is not None and told.drift.loss.verdict == "unclear"
    assert told.shift is not None and not told.shift.shown
    assert told.advice.action == "wait" and "no higher loss" in told.advice.sentence
    assert told.next_dataset == "data-2"  # for whoever wants it all the same
    talk(db, 20, PLAIN, 2)
    assert "beside the" in looked_at(db, home).advice.sentence


def test_the_base_alone_is_held_against_the_newest_test_part(db: Database, home: Paths, tiny_folder: Path) -> None:
    talk(db, 100, PLAIN, 0)
    dataset_of_log(db, tiny_folder)
    talk(db, 12, OTHER, 1)
    told = looked_at(db, home, with_drift=True)
    assert told.drift is not None and told.drift.gain is None and told.drift.new_examples == 12
    assert told.fresh.conversations == 112  # nothing was learned of either


def test_what_is_trained_already_is_to_be_proved_first(db: Database, home: Paths, tiny_folder: Path) -> None:
    talk(db, 20, PLAIN, 0)
    dataset_of_log(db, tiny_folder)
    done, _ = trained(db, home, steps=1)
    told = looked_at(db, home)
    assert told.advice.action == "prove" and told.next_dataset == ""
    assert told.advice.commands == [f"finetune eval {done.name}", f"finetune promote {done.name}"]
    talk(db, 10, OTHER, 1)  # which it has not seen
    assert looked_at(db, home).advice.action == "train"
    adapters.promote(db, done.adapter_hash)
    adapters.roll_back(db, TINY)
    assert looked_at(db, home).advice.action == "train"


def test_what_is_damaged_or_gone_is_told(db: Database, home: Paths, tiny_folder: Path) -> None:
    talk(db, 60, PLAIN, 0)
    done = in_use(db, home, tiny_folder, steps=1)
    talk(db, 12, OTHER, 1)
    (home.adapters / done.name / "adapter_model.safetensors").write_bytes(b"not that")
    told = looked_at(db, home, with_drift=True)
    assert told.drift is None and done.name in told.no_drift and told.shift is not None
    datasets.delete(db, "data")
    told = looked_at(db, home, with_drift=True)
    assert told.drift is None and "deleted" in told.advice.sentence


def test_the_command_and_a_dataset_like_another(db: Database, home: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    talk(db, 60, PLAIN, 0)

    def call(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        code = run([*words], top, "finetune")
        out, err = capsys.readouterr()
        return code, out if not code else err

    other = ("--since", "2001-01-01", "--all", "--seed", "3", "--split", "50/25/25", "--canaries", "2")
    hashes = []
    for name, words in (("data", ()), ("half", other)):
        assert call("data", "--name", name, "-m", TINY, *words)[0] == 0
        told = [call("data", "-m", TINY, "--json", *again)[1] for again in (words, ("--like", name))]
        hashes += [json.loads(one.splitlines()[-1])["hash"] for one in told]
    assert hashes[0] == hashes[1] != hashes[2] == hashes[3]
    code, err = call("data", "--like", "data", "--all")
    assert code and "leave out --all" in err
    done, _ = trained(db, home, steps=1)
    adapters.promote(db, done.adapter_hash)
    talk(db, 20, OTHER, 1)
    code, out = call("status", TINY, "--json", "--no-drift")
    told = json.loads(out)
    assert code == 0 and told["drift"] is None and told["new"]["good"] == told["new"]["conversations"] == 20
    assert told["advice"]["commands"][1] == f"finetune train --data data-2 --budget 10 -m {TINY}"
    code, out = call("status", TINY)
    assert code == 0 and "perplexity" in out and "Train again" in out and "20 rated good" in out
    assert call("status", "none-such")[0]


def test_without_drift_no_model_library_is_loaded() -> None:
    asked = "import sys, finetune.watch.status; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0


# -- the figures --------------------------------------------------------------------------------------------------


def test_intervals_seldom_cry_wolf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paired, "RESAMPLES", 300)
    drawn = np.random.default_rng(1)

    def sample(groups: int, shift_by: float = 0.0) -> Sample:
        tokens = drawn.lognormal(4, 1, groups)
        return Sample(tokens * (drawn.lognormal(0.9, 0.4, groups) + shift_by), tokens, range(groups))

    alike = [change(sample(30), sample(10)).verdict for _ in range(200)]
    assert alike.count("higher") <= 16  # 2.5 % are meant; some more, as so few groups have heavy tails
    assert [change(sample(30), sample(10, 3.0)).verdict for _ in range(20)].count("higher") >= 18
    assert change(sample(30), sample(9, 9.0)).verdict == "too few"


def test_a_distance_is_held_against_chance() -> None:
    drawn = np.random.default_rng(2)

    def of(values: np.ndarray) -> two_samples.Distance:  # type: ignore[type-arg]
        return distance(lambda marks: float(abs(values[marks].mean() - values[~marks].mean())), 30, 10)

    alike = [of(drawn.normal(size=40)).verdict for _ in range(40)]
    assert alike.count("other") <= 3
    assert of(np.concatenate([drawn.normal(size=30), drawn.normal(5, size=10)])).verdict == "other"


def test_words_of_both_kinds_of_writing() -> None:
    assert shift.words("The fox, THE ｆｏｘ!") == {"the": 2, "fox": 2}
    assert shift.words("机器学习 v2。好") == {"机器": 1, "器学": 1, "学习": 1, "v2": 1, "好": 1}


NO_CHANGE = Change(2.0, 2.0, 0.0, -0.1, 0.1, 20, 20)
HIGHER = Change(2.0, 2.5, 0.5, 0.1, 0.9, 20, 20)
LESS_GAIN = Change(1.0, 0.25, -0.75, -0.9, -0.5, 20, 20)


@pytest.mark.parametrize(
    ("conversations", "loss", "gain", "action", "said"),
    [
        (9, HIGHER, LESS_GAIN, "wait", "Training needs 10"),
        (20, HIGHER, LESS_GAIN, "train", "10.5% to 146.0% higher"),
        (20, NO_CHANGE, LESS_GAIN, "train", "gains 25% of"),
        (25, NO_CHANGE, NO_CHANGE, "train", "beside the 100"),
        (24, NO_CHANGE, NO_CHANGE, "wait", "no higher loss"),
        (24, None, None, "wait", "few compared with the 100"),
    ],
)
def test_the_strongest_reason_is_told(
    conversations: int, loss: Change | None, gain: Change | None, action: str, said: str
) -> None:
    found = Findings(conversations, 100, {}, Drift(loss, gain, 20, 20) if loss else None, None, adapter="one")
    told = advice(found, ["finetune data"])
    assert told.action == action and said in told.sentence


@pytest.mark.slow
def test_topics_by_the_real_meanings(db: Database, home: Paths, tiny_folder: Path, real_models: Path) -> None:
    sea = ["whale", "coral", "tide", "shark", "seaweed", "dolphin", "reef", "octopus", "wave", "harbour"]
    law = ["court", "judge", "contract", "lawyer", "verdict", "statute", "appeal", "witness", "jury", "clause"]
    talk(db, 24, sea, 0)
    in_use(db, home, tiny_folder, steps=1)
    assert looked_at(db, home).shift is None
    embedder = Embedder.load(real_models / MEANING)

    def embed() -> None:
        with closing(open_vectors(db, MEANING)) as vectors:
            while batch := next_batch(db, vectors):
                keep(db, vectors, batch, [embedder.embed(text)[0] for text in batch.texts.values()])

    embed()
    talk(db, 12, law, 1)
    told = looked_at(db, home).shift
    assert told is not None and told.topics is None  # what is new was not read yet
    embed()
    told = looked_at(db, home).shift
    assert told is not None and told.topics is not None
    assert told.topics.verdict == "other" and told.topics.distance > 2 * told.topics.chance
    assert (told.topics.known_groups, told.topics.new_groups) == (24, 12)
