"""Ollama's Modelfile says how a conversation is written, by what the chat template writes."""

import pytest

from finetune.export.modelfile import modelfile
from tests.assistant.engine import tiny

WITH_SYSTEM = "{% if messages[0].role != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}" + tiny.CHATML
OTHER = "{% for m in messages %}[{{ m.role }}] {{ m.content }}{{ eos_token }}{% endfor %}"
REFUSES = "{{ raise_exception('no') }}"


@pytest.mark.parametrize(
    ("template", "chatml", "system"),
    [(tiny.CHATML, True, False), (WITH_SYSTEM, True, True), (OTHER, False, False), (REFUSES, False, False)],
)
def test_what_the_template_writes_is_said(template: str, chatml: bool, system: bool) -> None:
    said = modelfile("a.gguf", tiny.tokenizer(template), 256)
    assert said.startswith("FROM ./a.gguf\nPARAMETER num_ctx 256\n")
    assert ("TEMPLATE" in said) == chatml
    assert ('SYSTEM """Be kind."""' in said) == system
    assert "PARAMETER stop <|im_end|>" in said
