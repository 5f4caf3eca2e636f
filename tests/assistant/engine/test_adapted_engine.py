"""Adapters while serving: swapped without a reload, the same as PEFT merges them, and the base bit for bit without."""

import gc
import time
import warnings
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

from assistant.adapters.folder import CHANGED
from assistant.engine.engine import Engine
from assistant.engine.generate.chat_format import ChatFormat
from assistant.engine.generate.sampling import Sampling
from assistant.engine.generate.schedule import Schedule, Task
from assistant.engine.models import catalogue
from assistant.engine.networks.llama import native
from assistant.engine.request import Chat
from assistant.errors import AdapterError, ContextExceeded
from assistant.events import Event, Finished, Prefilled, Token
from finetune.network import greedy
from prompts.message import Message
from tests.assistant.engine import ask, gguf_file, tiny

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

GREEDY = Sampling(temperature=0, max_tokens=16)
MESSAGES = [Message("user", "the quick brown fox jumps over")]


KINDS = ("lora", "prompt", "dora", "ia3", "prefix", "weights")
VIRTUAL = 6
"""Virtual tokens of prefix and prompt tuning."""


def peft_config(kind: str, model: Any) -> Any:
    gpt = model.config.model_type == "gpt2"
    match kind:
        case "ia3":
            return peft.IA3Config(task_type="CAUSAL_LM", fan_in_fan_out=gpt)
        case "prefix":
            return peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=VIRTUAL)
        case "prompt":
            return peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=VIRTUAL)
    dora = kind == "dora"
    return peft.LoraConfig(r=4, target_modules="all-linear", use_dora=dora, init_lora_weights=False, fan_in_fan_out=gpt)


def save_adapter(base: Path, folder: Path, seed: int, kind: str = "lora") -> Path:
    """Something trained at random, that changes what is said."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if kind == "weights":
        folder.mkdir()
        changed = {name: one.data + 0.1 * torch.randn_like(one) for name, one in model.named_parameters()}
        save_file(changed, folder / CHANGED)
        return folder
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = peft.get_peft_model(model, peft_config(kind, model))
    for name, parameter in adapted.named_parameters():
        if "ia3_" in name:
            parameter.data *= torch.rand_like(parameter) + 0.5
        elif "prompt_encoder" in name:
            parameter.data.normal_(0, 1)
    adapted.save_pretrained(folder, save_embedding_layers=False)
    return folder


def by_peft(base: Path, adapter: Path, prompt: list[int]) -> list[int]:
    """Greedy tokens of the base with what was trained, by PEFT or transformers."""
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if (adapter / CHANGED).is_file():
        model.load_state_dict(load_file(adapter / CHANGED), strict=False)
    else:
        model = peft.PeftModel.from_pretrained(model, str(adapter))
    ids = greedy.continuation(model.eval(), prompt, 16, frozenset())
    return [token for token in ids if token != tiny.VOCABULARY and token != 2]


def reply(events: Iterable[Event]) -> tuple[list[tuple[int, float | None]], str]:
    """((id, log-probability) of each token, hash of the adapter that spoke)"""
    said, adapter = [], ""
    for event in events:
        if isinstance(event, Token) and event.id is not None:
            said.append((event.id, event.logprob))
        elif isinstance(event, Finished):
            adapter = event.adapter_hash
    return said, adapter


def same(said: list[tuple[int, float | None]], other: list[tuple[int, float | None]]) -> bool:
    """Equal tokens; torch's products differ in the last bit with where memory lies. decode.c's don't: see below."""
    return [one for one, _ in said] == [one for one, _ in other] and [at for _, at in said] == pytest.approx(
        [at for _, at in other], abs=1e-4
    )


@pytest.mark.parametrize("model", ["llama", "qwen3", "mistral-window", "gpt2"])
def test_whatever_was_trained_is_swapped_while_serving(tmp_path: Path, model: str) -> None:
    base = tiny.save(tmp_path / "base", model)
    adapters = [save_adapter(base, tmp_path / kind, seed, kind) for seed, kind in enumerate(KINDS)]
    prompt = tiny_prompt(base)
    wanted = {adapter: by_peft(base, adapter, prompt) for adapter in adapters}
    for order in ([*adapters, adapters[0]], adapters[::-1]):  # each is first read while another one is in place
        engine = Engine.load(base, dtype="float32")
        before = reply(ask.chat(engine, MESSAGES, GREEDY))
        hashes = set()
        for adapter in order:
            said, adapter_hash = reply(ask.chat(engine, MESSAGES, GREEDY, adapter=adapter))
            assert [token for token, _ in said] == wanted[adapter], adapter.name
            assert [token for token, _ in said] != [token for token, _ in before[0]]
            assert same(said, reply(ask.chat(engine, MESSAGES, GREEDY, adapter=adapter))[0]), "what it read is kept"
            hashes.add(adapter_hash)
        assert len(hashes) == len(KINDS)
        engine._model.conversations.clear()
        assert same(reply(ask.chat(engine, MESSAGES, GREEDY))[0], before[0]), "the base is what it was"


def tiny_prompt(base: Path) -> list[int]:
    return ChatFormat(AutoTokenizer.from_pretrained(base)).encode(MESSAGES)


@pytest.mark.parametrize("model", ["llama", "gpt2"])
def test_a_closed_engine_gives_the_memory_back(tmp_path: Path, model: str) -> None:
    base = tiny.save(tmp_path / "base", model)
    engine = Engine.load(base, dtype="float32")
    for seed, kind in enumerate(KINDS):
        reply(ask.chat(engine, MESSAGES, GREEDY, adapter=save_adapter(base, tmp_path / kind, seed, kind)))
    network: Any = engine._model.network
    held = weakref.ref(network.model)
    gc.disable()
    try:
        engine.close()
        assert held() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("model", ["llama", "gpt2"])
@pytest.mark.parametrize("kind", KINDS)
def test_turns_scores_and_probabilities_with_it(tmp_path: Path, model: str, kind: str) -> None:
    """A second turn goes on from the first one's cache; scores are those of the reply itself, alone or in a tree."""
    base = tiny.save(tmp_path / "base", model)
    adapter = save_adapter(base, tmp_path / "adapter", 1, kind)
    engine, fresh = (Engine.load(base, dtype="float32", kv_cache_bytes=size) for size in (1 << 30, 0))
    reply(ask.chat(engine, MESSAGES, GREEDY, adapter=adapter))
    more = [*MESSAGES, Message("assistant", "the lazy dog"), Message("user", "and the fox")]
    second = reply(ask.chat(engine, more, GREEDY, adapter=adapter))[0]
    assert same(second, reply(ask.chat(fresh, more, GREEDY, adapter=adapter))[0])
    (scored,) = ask.score(fresh, MESSAGES, ["the lazy dog"], adapter=adapter)
    several = ask.score(fresh, MESSAGES, ["the quick fox", "the lazy dog", "dog"], adapter=adapter)
    assert several[1] == pytest.approx(scored, abs=1e-4)
    reread = ask.reread(engine, MESSAGES, "the lazy dog", 0, adapter=adapter)
    assert [one.logprob for one in reread.tokens] == pytest.approx(scored, abs=1e-4)


@pytest.mark.parametrize("kind", ["prefix", "prompt"])
@pytest.mark.parametrize("model", ["llama", "gpt2"])
def test_virtual_tokens_take_their_part_of_the_context(tmp_path: Path, model: str, kind: str) -> None:
    base = tiny.save(tmp_path / "base", model)
    adapter = save_adapter(base, tmp_path / "adapter", 1, kind)
    engine = Engine.load(base, dtype="float32")
    whole = Sampling(temperature=0, max_tokens=100_000)
    prefilled, *_, finished = ask.chat(engine, MESSAGES, whole, adapter=adapter)
    assert isinstance(prefilled, Prefilled) and isinstance(finished, Finished)
    assert prefilled.context_tokens == engine.context_tokens - VIRTUAL
    if finished.reason == "length":
        assert prefilled.prompt_tokens + finished.usage.completion_tokens == prefilled.context_tokens
    with pytest.raises(ContextExceeded, match=f"the context {prefilled.context_tokens}"):
        ask.complete(engine, "fox " * engine.context_tokens, GREEDY, adapter=adapter)


@pytest.mark.parametrize("tied", [True, False])
def test_beside_a_gguf_file(tmp_path: Path, tied: bool) -> None:
    """Whose names and shapes are known from a table of their own, and whose blocks DoRA takes the norms of."""
    tokenizer = tiny.tokenizer()
    config = LlamaConfig(**{**tiny.SIZES, "vocab_size": len(tokenizer), "tie_word_embeddings": tied})
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():
        parameter.data.mul_(4)
    (tmp_path / "file").mkdir()
    rounded = gguf_file.write(tmp_path / "file" / "model.gguf", model, tokenizer)
    model.load_state_dict(rounded, strict=False)
    model.tie_weights()
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    engine = Engine.load(tmp_path / "file", dtype="float32")
    prompt = engine.chat_format.encode(MESSAGES)
    for seed, kind in enumerate(KINDS):
        adapter = save_adapter(tmp_path / "base", tmp_path / kind, seed, kind)
        said = [token for token, _ in reply(ask.chat(engine, MESSAGES, GREEDY, adapter=adapter))[0]]
        assert said == by_peft(tmp_path / "base", adapter, prompt)[: len(said)] and len(said) > 2, kind
    other = save_adapter(tiny.save(tmp_path / "other", "wide"), tmp_path / "of another model", 1, "weights")
    with pytest.raises(AdapterError, match=r"where this model has|lm_head.weight, which this model doesn't have"):
        ask.chat(engine, MESSAGES, GREEDY, adapter=other)


@pytest.mark.skipif(native.library() is None, reason="needs a C compiler")
@pytest.mark.parametrize("dtype", ["bfloat16", "int8", "int4"])
@pytest.mark.parametrize("kind", KINDS)
def test_in_the_c_step_beside_a_base_of_few_bits(tmp_path: Path, kind: str, dtype: str) -> None:
    """Nearer to PEFT's own logits than the base is, by far; the base comes back bit for bit."""
    base = tiny.save(tmp_path / "base", "wide")
    adapter = save_adapter(base, tmp_path / "adapter", 1, kind)
    exact, engine = Engine.load(base, dtype="float32"), Engine.load(base, dtype=dtype)
    assert engine._model.network.together
    texts = ["the quick brown fox", "the lazy dog jumps over"]

    def scores(of: Engine, with_: Path | None) -> torch.Tensor:
        return torch.tensor([one for some in ask.score(of, MESSAGES, texts, adapter=with_) for one in some])

    before = scores(engine, None)
    wanted, found = scores(exact, adapter), scores(engine, adapter)
    rounding = (before - scores(exact, None)).norm()
    assert (found - wanted).norm() < 0.3 * (before - found).norm() + 2 * rounding
    engine._model.conversations.clear()
    assert torch.equal(scores(engine, None), before)


def test_conversations_with_different_adapters_at_once(tmp_path: Path) -> None:
    base = tiny.save(tmp_path / "base")
    one, other = (save_adapter(base, tmp_path / str(seed), seed) for seed in (1, 2))
    engine = Engine.load(base, dtype="float32")
    alone = [reply(ask.chat(engine, MESSAGES, GREEDY, adapter=adapter)) for adapter in (None, one, other)]
    schedule, events, errors = Schedule(engine.run), [list[Event]() for _ in range(3)], list[Exception | None]()
    for adapter, seen in zip((None, one, other), events, strict=True):
        schedule.add(Task(engine.steps(Chat(MESSAGES, GREEDY, adapter=adapter)), seen.append, errors.append))
    while schedule.tasks:
        schedule.round()
    assert errors == [None] * 3
    assert [[token for token, _ in reply(seen)[0]] for seen in events] == [
        [token for token, _ in said] for said, _ in alone
    ]


def test_an_adapter_that_was_deleted_or_trained_again(tmp_path: Path) -> None:
    base = tiny.save(tmp_path / "base")
    adapter = save_adapter(base, tmp_path / "adapter", 1)
    engine = Engine.load(base, dtype="float32")
    first = reply(ask.chat(engine, MESSAGES, GREEDY, adapter=adapter))
    save_adapter(base, adapter, 3)
    assert reply(ask.chat(engine, MESSAGES, GREEDY, adapter=adapter))[1] != first[1]
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(AdapterError, match=r"lacks adapter_model\.safetensors"):
        ask.chat(engine, MESSAGES, GREEDY, adapter=adapter)
    assert reply(ask.chat(engine, MESSAGES, GREEDY))[0]


@pytest.mark.slow
def test_the_real_model_swaps_within_three_seconds(real_models: Path, tmp_path: Path) -> None:
    engine = Engine.load(real_models / catalogue.DEFAULT)
    model = AutoModelForCausalLM.from_pretrained(tiny_like(real_models, tmp_path / "config"), dtype=torch.float32)
    torch.manual_seed(0)
    wanted = peft.LoraConfig(r=16, target_modules="all-linear", init_lora_weights=False)
    peft.get_peft_model(model, wanted).save_pretrained(tmp_path / "adapter")
    before = reply(ask.chat(engine, MESSAGES, GREEDY))
    began_s = time.monotonic()
    adapted = reply(ask.chat(engine, MESSAGES, GREEDY.replace({"max_tokens": 1}), adapter=tmp_path / "adapter"))
    assert time.monotonic() - began_s < 30, "three seconds are asked for; a busy machine gets ten times that"
    assert adapted[1]
    engine._model.conversations.clear()
    assert reply(ask.chat(engine, MESSAGES, GREEDY)) == before


def tiny_like(real_models: Path, folder: Path) -> Path:
    """Random weights of the real model's shape, for PEFT to put an adapter on."""
    from transformers import LlamaForCausalLM

    from assistant.engine.formats import weights
    from assistant.engine.models import model_folder

    config = weights.read_config(model_folder.ready(real_models / catalogue.DEFAULT, lambda _: None))
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder
