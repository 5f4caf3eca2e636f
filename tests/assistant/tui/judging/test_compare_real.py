"""The real model and an adapter of it, made one after another by the real engine, and compared."""

import json

import pytest
import torch
from safetensors.torch import save_file
from textual.widgets import Input

from assistant.engine.models.catalogue import DEFAULT
from assistant.paths import Paths
from assistant.settings import Settings
from assistant.store import messages
from assistant.store.database import open_database
from assistant.store.judgements import curation
from assistant.tui.app import AssistantApp
from assistant.tui.judging.compare import CompareScreen
from assistant.wire import address
from tests.assistant.server.conftest import until
from tests.assistant.tui.conftest import Window, said

pytestmark = pytest.mark.slow

HIDDEN, LAYERS, RANK = 576, 30, 2


def make_adapter(paths: Paths, name: str) -> None:
    """A LoRA adapter of the default model that changes what it says."""
    folder = paths.adapters / name
    folder.mkdir()
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": 4, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    random = torch.Generator().manual_seed(1)
    tensors = {}
    for layer in range(LAYERS):
        place = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        tensors[f"{place}.lora_A.weight"] = torch.randn(RANK, HIDDEN, generator=random) * 0.2
        tensors[f"{place}.lora_B.weight"] = torch.randn(HIDDEN, RANK, generator=random) * 0.2
    save_file(tensors, folder / "adapter_model.safetensors")


async def test_a_model_is_compared_with_its_adapter(real_home: Paths) -> None:
    make_adapter(real_home, "sea")
    with_log = open_database(real_home.database)
    talk = said(with_log, "Talk", ["Say one word.", "Sea."])
    old = messages.all_of(with_log, talk)[1].id
    app = AssistantApp(real_home, Settings(model=DEFAULT, sampling={"temperature": 0.0, "max_tokens": 8}))
    async with app.run_test(size=(120, 32)) as pilot:
        shown = Window(app, pilot)
        await shown.open()
        await shown.show(talk)
        shown.composer.load_text("")
        await pilot.press("up", "V")
        await shown.until(lambda: bool(shown.app.screen.query(Input)))
        shown.app.screen.query_one(Input).value = "sea"
        await pilot.pause()
        await pilot.press("enter")
        await shown.until(lambda: isinstance(shown.app.screen, CompareScreen), "it was never made", 120)
        await pilot.press("a", "enter")
        await shown.until(lambda: shown.app.screen is shown.app.chat)
        await app.action_quit()
    _, plain, adapted = messages.siblings(with_log, old)
    hashes = [messages.reply_info(with_log, one).provenance.adapter_hash for one in (plain, adapted)]
    assert hashes[0] == "" and len(hashes[1]) == 64
    texts = [messages.get(with_log, one).content for one in (plain, adapted)]
    assert texts[0] != texts[1]
    (vote,) = curation.preferences(with_log)
    assert {vote.chosen_id, vote.rejected_id} == {plain, adapted}
    with_log.close()
    await until(lambda: not address.is_running(real_home), 30)
