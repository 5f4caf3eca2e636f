"""A whole conversation in one text, its turns marked by words such as `\\n\\nHuman: ` or `<|im_start|>user`."""

import re

from assistant.store.exchange.message import ROLES

_WORDS = {"instruction": "user", "input": "user", "response": "assistant", "output": "assistant"}
_MARKS = (
    re.compile(r"(?:\A|\n\n|(?<=\n))(Human|Assistant|System): ?"),  # Anthropic's HH
    re.compile(r"<\|im_start\|>\s*(\w+)\n"),  # ChatML
    re.compile(r"<\|start_header_id\|>(\w+)<\|end_header_id\|>\s*"),  # Llama 3
    re.compile(r"<\|(user|assistant|system)\|>\n?"),  # Zephyr
    re.compile(r"\s*(?<!#)### ?(Human|Assistant|System|User|Instruction|Input|Response|Output):\s?"),  # Guanaco, Alpaca
    re.compile(r"(?:\A|\s)(USER|ASSISTANT|SYSTEM): ?"),  # Vicuna
)
_ENDS = re.compile(r"\s*(<\|im_end\|>|<\|eot_id\|>|<\|end_of_text\|>|<\|endoftext\|>|</s>)\s*\Z")


def parse(text: str, *, preamble: bool = False) -> list[tuple[str, str]]:
    """(role, content) of each turn; empty where the text doesn't begin with such a mark and name a user.

    With `preamble` other text may stand before the first mark, which is then the system message.
    """
    for mark in _MARKS:
        if (first := mark.search(text)) is None:
            continue
        before = text[: first.start()].strip().removeprefix("<|begin_of_text|>").removeprefix("<s>").strip()
        if before and not preamble:
            continue
        pieces = mark.split(text[first.start() :])[1:]
        turns = [(_role(word), _said(said)) for word, said in zip(pieces[::2], pieces[1::2], strict=True)]
        if turns and not turns[-1][1]:
            turns.pop()  # the mark of the answer that is to come
        if any(role == "user" for role, _ in turns):
            return [("system", before), *turns] if before else turns
    return []


def _role(word: str) -> str:
    return _WORDS.get(word.lower()) or ROLES.get(word.lower(), word.lower())


def _said(text: str) -> str:
    while (end := _ENDS.search(text)) is not None:
        text = text[: end.start()]
    return text.strip()
