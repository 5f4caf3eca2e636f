"""The engine against `transformers.generate`, on tiny random models of several families."""

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil
import pytest
import torch
from transformers import AutoModelForCausalLM

from assistant.engine.engine import Engine, default_threads
from assistant.engine.generate import reply
from assistant.engine.generate.sampling import Sampling
from assistant.engine.hardware.placement import Stored
from assistant.engine.networks import loading
from assistant.errors import ContextExceeded, ModelError, ModelIncomplete, ModelTooLarge, ModelUnsupported
from assistant.events import Event, Finished, Loading, Prefilled, Token
from prompts.message import Message
from tests.assistant.engine import ask, tiny

GREEDY = Sampling(temperature=0, max_tokens=24)
LONG = "the quick brown fox jumps over the lazy dog, 你好，世界! "
CONVERSATION = [Message("system", "Be brief."), Message("user", LONG)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = tiny.save(tmp_path_factory.mktemp(kind), kind)
        return made[kind]

    return folder


@pytest.fixture(scope="module")
def llama(folder: Callable[[str], Path]) -> Engine:
    return Engine.load(folder("llama"), dtype="float32")


def ids_of(events: Iterable[Event]) -> list[int]:
    return [event.id for event in events if isinstance(event, Token) and event.id is not None]


def text_of(events: Iterable[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Token))


def last(events: Iterable[Event]) -> Finished:
    *_, finished = events
    assert isinstance(finished, Finished)
    return finished


def prefilled(events: Iterable[Event]) -> Prefilled:
    return next(event for event in events if isinstance(event, Prefilled))


@pytest.mark.parametrize(("kind", "chunk"), [*((kind, 7) for kind in tiny.CONFIGS), ("llama", 512)])
def test_greedy_tokens_are_those_of_transformers(
    folder: Callable[[str], Path], kind: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reply, "PREFILL_TOKENS", chunk)
    engine = Engine.load(folder(kind), dtype="float32")
    model = AutoModelForCausalLM.from_pretrained(folder(kind), dtype=torch.float32)
    messages = list(CONVERSATION)
    for turn in ("jumps", "over"):  # the second goes on from the kept cache
        prompt = torch.tensor([engine.chat_format.encode(messages)])
        expected = model.generate(prompt, do_sample=False, max_new_tokens=24, pad_token_id=0)[0, prompt.shape[1] :]
        events = list(ask.chat(engine, messages, GREEDY))
        assert ids_of(events) == [token for token in expected.tolist() if token != 2]
        messages += [Message("assistant", text_of(events)), Message("user", turn)]


def test_the_kept_cache_changes_no_token_and_saves_the_prefix(llama: Engine, folder: Callable[[str], Path]) -> None:
    first = list(ask.chat(llama, CONVERSATION, GREEDY))
    longer = [*CONVERSATION, Message("assistant", text_of(first)), Message("user", "and the dog?")]
    edited = [*CONVERSATION[:-1], Message("user", LONG + "not")]
    for messages in (longer, edited, longer, CONVERSATION):
        events = list(ask.chat(llama, messages, GREEDY))
        fresh = list(ask.chat(Engine.load(folder("llama"), dtype="float32"), messages, GREEDY))
        assert ids_of(events) == ids_of(fresh)
        assert prefilled(events).cached_tokens > 20
        assert prefilled(fresh).cached_tokens == 0
    assert last(events).usage.cached_tokens == prefilled(events).prompt_tokens - 1


def test_the_same_seed_says_the_same(llama: Engine) -> None:
    chosen = Sampling(temperature=1.5, max_tokens=30, seed=11)
    once, again = (list(ask.chat(llama, CONVERSATION, chosen)) for _ in range(2))
    other = list(ask.chat(llama, CONVERSATION, chosen.replace({"seed": 12})))
    assert ids_of(once) == ids_of(again) != ids_of(other)
    assert last(once).seed == 11
    made_up = last(ask.chat(llama, CONVERSATION, chosen.replace({"seed": None, "max_tokens": 5}))).seed
    assert made_up is not None


def test_max_tokens_and_counts(llama: Engine) -> None:
    events = list(ask.chat(llama, CONVERSATION, Sampling(temperature=0, max_tokens=3)))
    finished = last(events)
    assert finished.reason == "length"
    assert finished.usage.completion_tokens == 3 == len(ids_of(events))
    assert finished.usage.prompt_tokens == prefilled(events).prompt_tokens
    assert 0 < finished.timing.first_token_s <= finished.timing.total_s
    assert finished.device == "cpu"
    assert len(finished.model_hash) == 64
    assert all(event.logprob is not None and event.logprob <= 0 for event in events if isinstance(event, Token))


def test_the_reply_ends_with_the_context(llama: Engine) -> None:
    events = list(ask.chat(llama, CONVERSATION, Sampling(temperature=1, seed=5, max_tokens=10_000)))
    while last(events).reason == "stop":  # a random model may end its turn
        events = list(ask.chat(llama, CONVERSATION, Sampling(temperature=1, max_tokens=10_000)))
    usage = last(events).usage
    assert usage.prompt_tokens + usage.completion_tokens == llama.context_tokens == 256


def test_stop_strings_end_the_reply_and_are_not_said(llama: Engine) -> None:
    whole = text_of(ask.chat(llama, CONVERSATION, GREEDY))
    stop = whole[5:9]
    events = list(ask.chat(llama, CONVERSATION, Sampling(temperature=0, max_tokens=24, stop=(stop, "never said"))))
    assert text_of(events) == whole[: whole.index(stop)]
    assert last(events).reason == "stop"


def test_an_end_of_turn_token_ends_the_reply(llama: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = ids_of(ask.chat(llama, CONVERSATION, GREEDY))
    end = next(token for token in ids if ids.index(token) > 0)
    monkeypatch.setattr(llama, "_model", dataclasses.replace(llama._model, end_ids=frozenset({end})))
    events = list(ask.chat(llama, CONVERSATION, GREEDY))
    assert ids_of(events) == ids[: ids.index(end)]
    assert last(events).reason == "stop"
    assert last(events).usage.completion_tokens == ids.index(end) + 1


def test_all_that_may_end_a_turn_is_known(llama: Engine) -> None:
    assert llama._model.end_ids == {2}


def test_a_reply_that_is_left_alone_leaves_a_sound_cache(llama: Engine) -> None:
    expected = ids_of(ask.chat(llama, CONVERSATION, GREEDY))
    stream = ask.chat(llama, CONVERSATION, GREEDY)
    for _ in range(4):
        next(stream)
    stream.close()
    assert ids_of(ask.chat(llama, CONVERSATION, GREEDY)) == expected


def test_a_forward_pass_that_fails_leaves_no_half_cache(llama: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = ids_of(ask.chat(llama, CONVERSATION, GREEDY))
    layer = llama._model.network.model.layers[1]
    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(layer, "forward", lambda *_, **__: (_ for _ in ()).throw(MemoryError))
        list(ask.chat(llama, [Message("user", "other")], GREEDY))
    assert ids_of(ask.chat(llama, CONVERSATION, GREEDY)) == expected


def test_continuing_a_cut_reply_computes_nothing_twice(llama: Engine) -> None:
    cut = text_of(ask.chat(llama, CONVERSATION, Sampling(temperature=0, max_tokens=12)))
    events = list(ask.chat(llama, [*CONVERSATION, Message("assistant", cut)], GREEDY, continue_final=True))
    assert prefilled(events).cached_tokens >= len(llama.chat_format.encode(CONVERSATION))
    assert text_of(events)


def test_the_oldest_turns_are_left_out(llama: Engine) -> None:
    turns = [Message("user", LONG), Message("assistant", LONG)] * 6
    events = list(ask.chat(llama, [CONVERSATION[0], *turns, Message("user", "now")], GREEDY))
    assert prefilled(events).dropped_messages % 2 == 0 < prefilled(events).dropped_messages
    assert prefilled(events).prompt_tokens + 24 <= prefilled(events).context_tokens == 256
    with pytest.raises(ContextExceeded, match="256"):
        list(ask.chat(llama, [*turns, Message("user", "now")], GREEDY, drop_oldest=False))
    with pytest.raises(ContextExceeded, match="256"):
        list(ask.chat(llama, [Message("user", LONG * 20)], GREEDY))


def test_completion_goes_on_from_a_text(llama: Engine) -> None:
    events = list(ask.complete(llama, "the quick brown", Sampling(temperature=0, max_tokens=5)))
    assert prefilled(events).prompt_tokens == len(llama.chat_format.encode_text("the quick brown"))
    assert len(ids_of(events)) <= 5
    with pytest.raises(ContextExceeded, match="256"):
        ask.complete(llama, LONG * 20, GREEDY)


def test_loading_writes_nothing_to_the_terminal(
    folder: Callable[[str], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    seen: list[Loading] = []
    engine = Engine.load(folder("qwen2"), progress=seen.append)
    list(ask.chat(engine, CONVERSATION, GREEDY))
    engine.close()
    assert capfd.readouterr() == ("", "")
    assert seen


def test_devices_and_precisions_that_do_not_exist(folder: Callable[[str], Path]) -> None:
    with pytest.raises(ModelError, match="'warp' that torch can use"):
        Engine.load(folder("llama"), device="warp")
    with pytest.raises(ModelError, match="'float3', but must be auto or one of float32"):
        Engine.load(folder("llama"), dtype="float3")


def test_a_model_larger_than_the_memory_is_refused_before_it_is_read(
    folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading.weights, "stored", lambda *_, **__: Stored(10**15, 10**15, "float32", True))
    monkeypatch.setattr(loading.weights, "tensors", lambda *_: pytest.fail("it was read"))
    with pytest.raises(ModelTooLarge, match=r"needs 687500\.0 GB .* in int4, but .* GB are free on cpu.* such as "):
        Engine.load(folder("llama"))


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer.json"])
def test_missing_files_are_named(tmp_path: Path, missing: str) -> None:
    folder = tiny.save(tmp_path / "m")
    (folder / missing).unlink()
    with pytest.raises(ModelIncomplete, match=missing):
        Engine.load(folder)


def test_cut_weights_are_named(tmp_path: Path) -> None:
    folder = tiny.save(tmp_path / "m")
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ModelIncomplete, match=r"model\.safetensors"):
        Engine.load(folder)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    folder = tiny.save(tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelUnsupported, match=r"pytorch_model\.bin"):
        Engine.load(folder)


def test_an_architecture_that_is_not_known(tmp_path: Path) -> None:
    folder = tiny.save(tmp_path / "m")
    config = (folder / "config.json").read_text(encoding="utf-8")
    auto_map = '"auto_map": {"AutoConfig": "code.C", "AutoModelForCausalLM": "code.M"}, "model_type": "hyper9"'
    (folder / "config.json").write_text(config.replace('"model_type": "llama"', auto_map), encoding="utf-8")
    (folder / "code.py").write_text("raise SystemExit('this code was run')", encoding="utf-8")
    with pytest.raises(ModelUnsupported, match="hyper9"):
        Engine.load(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "generation_config.json"])
def test_damaged_files_are_named(tmp_path: Path, name: str) -> None:
    folder = tiny.save(tmp_path / "m")
    (folder / name).write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match=f"{name}|tokenizer in"):
        Engine.load(folder)


def test_a_thread_for_each_core_unless_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_threads() == torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert default_threads() == (psutil.cpu_count(logical=False) or torch.get_num_threads())
