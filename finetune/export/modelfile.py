"""Ollama's Modelfile for a GGUF file. https://github.com/ollama/ollama/blob/main/docs/modelfile.md"""

from typing import Any

from assistant.engine.generate.chat_format import CHATML

CHATML_IN_GO = (
    "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"
)
ASKED = ({"role": "user", "content": "Plugh"},)
TOLD = (
    {"role": "system", "content": "Xyzzy"},
    *ASKED,
    {"role": "assistant", "content": "Plover"},
    {"role": "user", "content": "Fee fie foe"},
)


def modelfile(gguf_name: str, tokenizer: Any, context_tokens: int) -> str:
    """The Modelfile's text: model, context, chat template if it is ChatML, end of replies.

    Ollama recognises other chat templates in the GGUF file.
    """
    lines = [f"FROM ./{gguf_name}", f"PARAMETER num_ctx {context_tokens}"]
    if _rendered(tokenizer, TOLD) == _rendered(tokenizer, TOLD, CHATML):
        lines += [f'TEMPLATE """{CHATML_IN_GO}"""', "PARAMETER stop <|im_end|>"]
        if system := _default_system(tokenizer):
            lines.append(f'SYSTEM """{system}"""')
    elif tokenizer.eos_token:
        lines.append(f"PARAMETER stop {tokenizer.eos_token}")
    return "\n".join(lines) + "\n"


def _default_system(tokenizer: Any) -> str:
    """The system message that the template adds to a conversation without one."""
    plain, rendered = _rendered(tokenizer, ASKED, CHATML), _rendered(tokenizer, ASKED)
    begin, end = "<|im_start|>system\n", "<|im_end|>\n" + plain
    if not (rendered.startswith(begin) and rendered.endswith(end)):
        return ""
    return rendered.removeprefix(begin).removesuffix(end)


def _rendered(tokenizer: Any, messages: Any, template: str | None = None) -> str:
    """A conversation as text; empty if the template refuses it."""
    from jinja2 import TemplateError

    try:
        text = tokenizer.apply_chat_template(
            list(messages), chat_template=template, tokenize=False, add_generation_prompt=True
        )
    except (TemplateError, ValueError):
        return ""
    return str(text)
