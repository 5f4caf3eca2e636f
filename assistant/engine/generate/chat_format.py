"""Messages -> token ids, by the model's own chat template. What people type never becomes a control token."""

import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, chain
from typing import Any

from jinja2 import TemplateError

from assistant.engine.generate.text_stream import TextStream
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

KEPT_CHARACTERS = 1 << 22
"""Characters of the turns whose ids are remembered, 4 bytes a token."""

ROLES, WORDS = ("user", "assistant", "user"), ("Plugh", "Xyzzy", "Plover")
"""A conversation that shows what the template writes between its words."""

OPENING = re.compile(r"(<think(ing)?>|\[THINK\])\s*$", re.IGNORECASE)
OPENING_TOKENS, LONGEST_OPENING = 8, 32
"""Tokens at the end of a prompt in which such an opening has room, and its characters."""


@dataclass(slots=True)
class Transcript:
    """A conversation that ends with a reply, as token ids.

    `replies[p]` is the (begin, end) of the reply at place p of the messages, including the token that ends its turn. A
    reply is absent where the template now writes it, or what stands before it, differently from its own prompt.
    `questions[p]`: the same of a question, absent where the template doesn't write it as it was typed.
    """

    ids: list[int]
    replies: dict[int, tuple[int, int]] = field(default_factory=dict)
    questions: dict[int, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TurnLengths:
    """Tokens of a conversation: `head` before its first turn (a system message), then of each user and assistant turn,
    with what the template writes around it. Exact where each turn ends with a control token, else in proportion to its
    characters.
    """

    head: int
    turns: tuple[int, ...]


class ChatFormat:
    """One model's way to write a conversation.

    A conversation without a system message gets what the template says then: SmolLM2's, for one, puts in the system
    message it was trained with.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._backend = getattr(tokenizer, "backend_tokenizer", None)
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
        self._known: dict[str, array[int]] = {}
        """The ids of turns that were encoded lately."""
        self._known_characters = 0
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

    def transcript(
        self, messages: Sequence[Message], places: Iterable[int], reply: str, end: int, questions: Iterable[int] = ()
    ) -> Transcript:
        """`messages` and the `reply` to them, which the token `end` ends, and where the replies at `places` and the
        `questions` stand.

        The ids are those of `encode` and `encode_reply`. The cost is that of tokenising the conversation once, and of
        applying the template a few times where it only adds turns, else once a place. Raises `ModelUnsupported` where
        the template refuses the conversation.
        """
        turns, wanted = self._split(self._render(messages)), list(places)
        prompt = turns.ids()
        found = Transcript([*prompt, *self.encode_reply(prompt, reply), end])
        found.replies[len(messages)] = len(prompt), len(found.ids)
        whole = turns.of_messages(messages)
        sample = {*wanted[:1], *wanted[len(wanted) // 2 :][:1], *wanted[-1:]}
        adds = whole is not None and all(turns.text.startswith(self._render(messages[:place])) for place in sample)
        for place in wanted:
            span = self._in_turn(turns, whole[place], messages[place], end) if whole and adds else None
            if span := span or self._after_prompt(found.ids, messages, place, end):
                found.replies[place] = span
        for place in questions:
            if whole and adds and (span := self._in_turn(turns, whole[place], messages[place], end)):
                found.questions[place] = span
        return found

    def turn_lengths(self, messages: Sequence[Message]) -> TurnLengths:
        """How the tokens of a conversation are divided among its turns."""
        turns = self._split(self._render(messages))
        *lengths, opening = map(len, turns.encoded)
        said = [place for place, message in enumerate(messages) if message.role != "system"]
        numbers = [whole[place] for place in said] if (whole := turns.of_messages(messages)) else []
        if len(set(numbers)) == len(said):
            return TurnLengths(sum(lengths[: numbers[0]]), tuple(lengths[number] for number in numbers))
        total, characters = sum(lengths) + opening, sum(len(message.content) + 1 for message in messages)
        counts = [total * (len(messages[place].content) + 1) // characters for place in said]
        return TurnLengths(total - sum(counts), tuple(counts))

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
        return self._split(text).ids()

    def _split(self, text: str) -> "_Turns":
        """A prompt's text as turns, each tokenised; one turn where typed control tokens were cut, or nothing ends one.

        A turn that was in an earlier prompt is not tokenised again.
        """
        first, *others = text.split(CUT)
        if others:
            pieces = [self._encoded(first), *map(self._inside, others)]
            return _Turns([text], [array("i", chain.from_iterable(pieces))])
        turns = list(filter(None, self._turns.findall(text))) if self._turns else [text]
        return _Turns(turns, self._encoded_turns(turns))

    def _in_turn(self, turns: "_Turns", number: int, message: Message, end: int) -> tuple[int, int] | None:
        """Where a reply stands in its turn: after what is tokenised as it would be at the end of a prompt."""
        turn, ids, first = turns.texts[number], turns.encoded[number], turns.first_ids[number]
        said = self._cut(message) + str(self._tokenizer.convert_ids_to_tokens(end))
        opening = turn.removesuffix(said)
        if CUT in said or opening == turn or ids[-1] != end or OPENING.search(opening):
            return None
        before = self._encoded(opening)
        return (first + len(before), first + len(ids)) if ids[: len(before)].tolist() == before else None

    def _after_prompt(
        self, ids: Sequence[int], messages: Sequence[Message], place: int, end: int
    ) -> tuple[int, int] | None:
        """As `_in_turn`, found by encoding all that stands before the reply."""
        prompt = self.encode(messages[:place])
        whole = [*prompt, *self.encode_reply(prompt, messages[place].content), end]
        return (len(prompt), len(whole)) if ids[: len(whole)] == whole else None

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
        return list(chain.from_iterable(self._encoded_turns(self._turns.findall(text) if self._turns else [text])))

    def _encoded_turns(self, turns: Sequence[str]) -> "list[array[int]]":
        known = self._known
        new = [turn for turn in dict.fromkeys(turns) if turn not in known]
        made = dict(zip(new, self._tokenised(new), strict=True)) if new else {}
        found = [made[turn] if turn in made else known[turn] for turn in turns]
        if self._turns:
            if self._known_characters + (more := sum(map(len, new))) > KEPT_CHARACTERS:
                self._known, self._known_characters = {}, 0
            if more <= KEPT_CHARACTERS:
                self._known.update(made)
                self._known_characters += more
        return found

    def _tokenised(self, texts: Sequence[str]) -> "Iterator[array[int]]":
        """The ids of each text; many at once are faster, in several threads."""
        if self._backend is None:
            encode = partial(self._tokenizer.encode, add_special_tokens=False)
            return (array("i", encode(text) if text else ()) for text in texts)
        return (array("i", one.ids) for one in self._backend.encode_batch_fast(list(texts), add_special_tokens=False))

    def _whole_ids(self, text: str) -> list[int]:
        (ids,) = self._tokenised([text])
        return ids.tolist()

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


class _Turns:
    """A prompt's text cut into turns, and the ids of each; the last turn is what begins the reply."""

    def __init__(self, texts: Sequence[str], encoded: "Sequence[array[int]]") -> None:
        self.text, self.texts, self.encoded = "".join(texts), texts, encoded
        self.first_ids = list(accumulate(map(len, encoded), initial=0))
        """Of each turn the index of its first id."""

    def ids(self) -> list[int]:
        return list(chain.from_iterable(self.encoded))

    def of_messages(self, messages: Sequence[Message]) -> list[int] | None:
        """Of each message but the system's the turn that holds it: one of its own, or one for a question and its reply.
        None where the template divides them otherwise.
        """
        ended = len(self.texts) - 1
        said = sum(message.role != "system" for message in messages)
        replies = sum(message.role == "assistant" for message in messages)
        if 0 <= ended - said <= 1:  # a system message has a turn too, maybe the template's own
            first, ending = ended - said, {"user", "assistant"}
        elif ended == replies:
            first, ending = 0, {"assistant"}
        else:
            return None
        return list(accumulate((message.role in ending for message in messages), initial=first))[:-1]


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
