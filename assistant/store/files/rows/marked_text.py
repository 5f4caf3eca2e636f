"""A whole conversation in one text, its turns marked by words such as `\\n\\nHuman: ` or `<|im_start|>user`."""

import re

from assistant.store.files.values.message import ROLES

_WORDS = (
    dict.fromkeys(("instruction", "input"), "user")
    | dict.fromkeys(("response", "output"), "assistant")
    | {"function response": "tool"}
)
_MARKS = (
    re.compile(r"(?:\A|\n\n)(Human|Assistant|System): ?"),  # Anthropic's HH
    re.compile(r"(?:\A|\n)(Human|Assistant|System): ?"),  # BELLE
    re.compile(r"<\|im_start\|>\s*(\w+)\n"),  # ChatML
    re.compile(r"<\|start_header_id\|>(\w+)<\|end_header_id\|>"),  # Llama 3
    re.compile(r"<\|(user|assistant|system)\|>"),  # Zephyr
    re.compile(r"(?<!#)### ?(Human|Assistant|System|User|Instruction|Input|Response|Output):"),  # Guanaco, Alpaca
    re.compile(r"(?:\A|\s|</s>)(USER|ASSISTANT|SYSTEM|FUNCTION RESPONSE): ?"),  # Vicuna, Glaive
)
_BEGINNING = re.compile(r"\A\s*(<\|begin_of_text\|>|<s>)?\s*")
_ENDS = ("<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "<|endoftext|>", "</s>")


def parse(text: str, *, preamble: bool = False) -> list[tuple[str, str]]:
    """(role, content) of each turn; empty where the text doesn't begin with such a mark and name a user.

    With `preamble` the text before the first mark is the system message.
    """
    text = _BEGINNING.sub("", text, count=1)
    asked: list[tuple[str, str]] = []
    for mark in _MARKS:
        first = mark.search(text) if preamble else mark.match(text)
        if first is None:
            continue
        pieces = mark.split(text[first.start() :])[1:]
        turns = [(_role(word), _said(said)) for word, said in zip(pieces[::2], pieces[1::2], strict=True)]
        roles = {role for role, _ in turns}
        if turns[-1] == ("assistant", ""):
            turns.pop()  # the mark of the answer that is to come
        if "user" in roles:
            before = text[: first.start()].strip()
            turns = [("system", before), *turns] if before else turns
            if "assistant" in roles:
                return turns
            asked = asked or turns
    return asked


def _role(word: str) -> str:
    return _WORDS.get(word.lower()) or ROLES.get(word.lower(), word.lower())


def _said(text: str) -> str:
    text = text.strip()
    while text.endswith(_ENDS):
        text = text[: -next(len(end) for end in _ENDS if text.endswith(end))].rstrip()
    return text
