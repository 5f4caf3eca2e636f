"""Messages -> token ids, by the model's own chat template. What people type never becomes a control token."""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

from jinja2 import TemplateError

from assistant.engine.text_stream import TextStream
from assistant.errors import ModelUnsupported
from prompts.message import Message

CUT = "\ufdd0"
"""A noncharacter of Unicode (never in real text) that marks where a typed control token is cut in two."""

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PLAIN = (
    "{% for message in messages %}{{ message.role | capitalize }}: {{ message.content }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
"""For models without a template of their own: the first if they have its tokens, else the second."""

SHOWN = re.compile(r"</?think(ing)?>|\[/?THINK\]", re.IGNORECASE)
"""Tokens around reasoning: text that is shown, even where the tokenizer calls them special."""

TURNS_KEPT, LONGEST_KEPT = 512, 1 << 15
"""Turns whose ids are remembered, and the characters of the longest."""

ROLES, WORDS = ("user", "assistant", "user"), ("Plugh", "Xyzzy", "Plover")
"""A conversation that shows what the template writes between its words."""

OPENING = re.compile(r"(<think(ing)?>|\[THINK\])\s*$", re.IGNORECASE)
OPENING_TOKENS = 8
"""Tokens at the end of a prompt in which such an opening has room."""


class ChatFormat:
    """One model's way to write a conversation.

    A conversation without a system message gets what the template says then: SmolLM2's, for one, puts in the system
    message it was trained with.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._template = _template(tokenizer)
        added = tokenizer.added_tokens_decoder.values()
        texts = [token.content for token in added if len(token.content) > 1 and not token.content.isspace()]
        special = [token.content for token in added if token.special and token.content in texts]
        self._any_control = _any_of([*texts, *tokenizer.all_special_tokens])
        self._special = _any_of([*special, *tokenizer.all_special_tokens])
        self.stops: tuple[str, ...] = ("\nUser:",) if self._template == PLAIN else ()
        """Texts that end a reply beside the end-of-turn tokens."""
        self.hidden_ids = frozenset(
            token for token in tokenizer.all_special_ids if not SHOWN.fullmatch(tokenizer.convert_ids_to_tokens(token))
        ) | {index for index, token in tokenizer.added_tokens_decoder.items() if _hidden(token)}
        """Special tokens, which have no text in a reply."""
        self._turn_ids: Callable[[str], list[int]] = lru_cache(TURNS_KEPT)(self._whole_ids)
        self._turns: re.Pattern[str] | None = None
        self.next_turn_ids = self._next_turn()
        """What the template writes between a reply and what is said to it."""
        self.end_ids = frozenset(token for token in self.next_turn_ids[:1] if token in self.hidden_ids)
        """The control token that the template writes after a reply, if it does."""
        self._turns = self._apart()

    def encode(self, messages: Sequence[Message], *, continue_final: bool = False) -> list[int]:
        """The ids of a prompt, up to where the reply begins, or with `continue_final` up to where the last message, a
        reply that was cut, ends. Raises `ModelUnsupported` where the template refuses the conversation.
        """
        if not continue_final:
            return self._ids(self._render(messages))
        prompt = self.encode(messages[:-1])
        return prompt + self.encode_reply(prompt, messages[-1].content)

    def encode_text(self, text: str) -> list[int]:
        """The ids of a bare text for completion, after the token that the model expects at the beginning of a text."""
        bos = self._tokenizer.bos_token_id
        begin = [bos] if bos is not None and self._tokenizer("")["input_ids"][:1] == [bos] else []
        return begin + self._ids(self._mark(text, self._any_control))

    def encode_following(self, text: str) -> list[int]:
        """The ids of a text that follows a prompt, such as a reply that is to be scored."""
        return self._inside(self._mark(text, self._any_control))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The text of each id, all of them together being the whole; of a character's ids the last one has it."""
        text = TextStream(
            partial(self._tokenizer.decode, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        )
        some = [text.push(token) for token in ids]
        some[-1:] = [last + text.flush() for last in some[-1:]]
        return some

    def encode_reply(self, prompt: Sequence[int], reply: str) -> list[int]:
        """The ids of a reply as the model is to write it after a prompt's, without the token that ends it."""
        return self._inside(self._mark(reply, self._special).removeprefix(self.opening(prompt)))

    def opening(self, prompt: Sequence[int]) -> str:
        """Text that the template has begun the reply with, such as `<think>`, by a prompt's ids; mostly empty."""
        tail = self._tokenizer.decode(prompt[-OPENING_TOKENS:], skip_special_tokens=False)
        found = OPENING.search(tail)
        return found[0] if found else ""

    def _render(self, messages: Sequence[Message]) -> str:
        """The prompt as text, typed control tokens cut in two by marks."""
        turns = [{"role": message.role, "content": self._cut(message)} for message in messages]
        system = turns[0]["content"].strip() if turns and turns[0]["role"] == "system" else ""
        try:
            text = self._applied(turns)
            if system in text:
                return text
        except TemplateError:
            pass  # no system role, or two turns of one side in a row: said in a way that every template takes
        try:
            return self._applied(_alternating(turns))
        except TemplateError as error:
            raise ModelUnsupported(
                f"The model's chat template refuses this conversation: {error}. Choose another model."
            ) from error

    def _applied(self, turns: list[dict[str, str]]) -> str:
        text: str = self._tokenizer.apply_chat_template(
            turns, chat_template=self._template, tokenize=False, add_generation_prompt=True
        )
        return text

    def _cut(self, message: Message) -> str:
        """A message's text with marks. In a reply only special tokens are cut: its `<think>` is the model's own."""
        return self._mark(message.content, self._special if message.role == "assistant" else self._any_control)

    @staticmethod
    def _mark(text: str, control: "re.Pattern[str]") -> str:
        text = text.replace(CUT, "")
        while (marked := control.sub(lambda found: found[0][0] + CUT + found[0][1:], text)) != text:
            text = marked  # again: cutting one token can uncover another
        return text

    def _ids(self, text: str) -> list[int]:
        first, *others = text.split(CUT)
        ids = self._encoded(first)
        for piece in others:
            ids += self._inside(piece)
        return ids

    def _inside(self, text: str) -> list[int]:
        """The ids of a text that goes on from another one: SentencePiece's space at the beginning is not wanted."""
        first, *others = text.split(CUT)
        newline = self._encoded("\n")
        ids = self._encoded("\n" + first)
        ids = ids[len(newline) :] if ids[: len(newline)] == newline else self._encoded(first)
        for piece in others:
            ids += self._inside(piece)
        return ids

    def _encoded(self, text: str) -> list[int]:
        """A turn that was in an earlier prompt is not tokenised again."""
        if self._turns is None:
            return self._whole_ids(text)
        ids: list[int] = []
        for turn in self._turns.findall(text):
            ids += self._turn_ids(turn) if len(turn) <= LONGEST_KEPT else self._whole_ids(turn)
        return ids

    def _whole_ids(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False)) if text else []

    def _apart(self) -> "re.Pattern[str] | None":
        """What finds the turns in a prompt, each with its end; None where one's ids depend on the turn before it."""
        ends = [self._tokenizer.convert_ids_to_tokens(token) for token in self.end_ids]
        for end in ends:
            for text in ("x", " x", "\nx", " \n x", end):
                if self._whole_ids(f"x{end}{text}") != self._whole_ids(f"x{end}") + self._whole_ids(text):
                    return None
        return re.compile(f".*?(?:{_any_of(ends).pattern}|\\Z)", re.DOTALL) if ends else None

    def _next_turn(self) -> list[int]:
        turns = [{"role": role, "content": text} for role, text in zip(ROLES, WORDS, strict=True)]
        try:
            after = self._applied(turns).rpartition(WORDS[1])[2]
        except TemplateError:
            return []
        return self._inside(after.partition(WORDS[2])[0])


def _template(tokenizer: Any) -> str:
    template = tokenizer.chat_template
    if isinstance(template, dict):  # several of them, by name
        template = template.get("default") or next(iter(template.values()))
    if template:
        return str(template)
    vocabulary = tokenizer.get_vocab()
    return CHATML if "<|im_start|>" in vocabulary and "<|im_end|>" in vocabulary else PLAIN


def _alternating(turns: list[dict[str, str]]) -> list[dict[str, str]]:
    """The same words with no system role, and with no two turns of one side in a row."""
    merged: list[dict[str, str]] = []
    for turn in turns:
        role = "user" if turn["role"] == "system" else turn["role"]
        if merged and merged[-1]["role"] == role:
            merged[-1] = {"role": role, "content": f"{merged[-1]['content']}\n\n{turn['content']}".strip()}
        else:
            merged.append({"role": role, "content": turn["content"]})
    return merged


def _any_of(tokens: Sequence[str]) -> "re.Pattern[str]":
    """Any of the tokens, the longest first. Single characters can't be cut and are not looked for."""
    wanted = sorted({token for token in tokens if len(token) > 1}, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, wanted)) or "(?!)")


def _hidden(token: Any) -> bool:
    return bool(token.special) and not SHOWN.fullmatch(token.content)
