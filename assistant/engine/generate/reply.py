"""One reply, token by token: prompt in, events out. Where logits are needed it asks whoever runs it.

Where the time of one token goes: of 8.3 ms (the default model in 4 bits, 200 tokens of a sampled reply, 2 cores with
AVX512-VNNI) 6.1 are products with the weights, 1.3 are attention, norms and threads that wait for one another, all in
decode.c, and 0.9 are Python: choosing a token, text, events. With 4,000 tokens of context attention takes another 8.
"""

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from assistant.engine.generate.cache import Conversations
from assistant.engine.generate.chat_format import ChatFormat
from assistant.engine.generate.constraint import Constraints
from assistant.engine.generate.sampling import Sampling
from assistant.engine.generate.speculation import Drafts, PassTimes
from assistant.engine.generate.text_stream import StopStrings, TextStream
from assistant.engine.generate.token_choice import Chosen, TokenChoice
from assistant.engine.networks.network import Ask, Conversation, Network, Steps
from assistant.events import Finished, FinishReason, Prefilled, Token, TopToken, Usage
from assistant.growing import Clock

PREFILL_TOKENS = 512
"""Prompt tokens computed at once: between two such pieces a stop request is heard, and other replies go on."""
GPU_PREFILL_TOKENS = 4096
"""The same on a GPU, which reads them in a tenth of a second and is not busy with fewer."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model, and what each request needs of it."""

    network: Network
    conversations: Conversations
    tokenizer: Any
    chat_format: ChatFormat
    end_ids: frozenset[int]
    context_tokens: int
    model_hash: Callable[[], str]
    constraints: Constraints
    times: PassTimes = field(default_factory=PassTimes)

    @property
    def prefill_tokens(self) -> int:
        """Prompt tokens computed at once."""
        return GPU_PREFILL_TOKENS if str(self.network.device).startswith("cuda") else PREFILL_TOKENS

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, special tokens as they are written."""
        text: str = self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text


@dataclass(frozen=True, slots=True)
class Prompt:
    """Ids to begin from, and what is to be said of them."""

    ids: list[int]
    dropped_messages: int = 0
    opening: str = ""
    """Text that the template has begun the reply with."""
    stops: tuple[str, ...] = ()
    next_turn: Sequence[int] = ()
    """Ids that come between the reply and what is said to it."""


def read_prompt(model: Loaded, conversation: Conversation, ids: Sequence[int]) -> Generator[Ask, Tensor, Tensor]:
    """Logits (V,) after `ids`, the beginning of which the conversation holds already."""
    logits, piece = None, model.prefill_tokens
    for start in range(len(conversation.ids), len(ids), piece):
        logits = yield Ask(conversation, ids[start : start + piece])
    assert logits is not None, "a conversation never holds the last token of a prompt"
    return logits[-1]


class Reply:
    """What follows one prompt."""

    def __init__(self, model: Loaded, prompt: Prompt, sampling: Sampling, adapter: str = "", choice: int = 0) -> None:
        self._model = model
        self._prompt = prompt
        self._adapter = adapter
        self._number = choice
        constraint = model.constraints.follow(sampling.json_schema) if sampling.json_schema else None
        self._choice = TokenChoice(sampling, prompt.ids, constraint)
        self._text = TextStream(model.decode, model.chat_format.hidden_ids)
        self._stops = StopStrings((*sampling.stop, *prompt.stops))
        self._room = min(sampling.max_tokens, model.context_tokens - len(prompt.ids))
        self._count = 0
        self._clock = Clock()

    def steps(self) -> Steps:
        """`Prefilled`, a `Token` for each, `Finished`. Then, while the reply is read, the head of the next turn."""
        self._clock.restart()
        conversation, cached = self._model.conversations.take(self._prompt.ids, self._adapter)
        try:
            logits = yield from read_prompt(self._model, conversation, self._prompt.ids)
            yield self._prefilled(cached)
            if self._prompt.opening:
                yield Token(self._prompt.opening, choice=self._number)
            reason, unread = yield from self._tokens(conversation, logits)
            if rest := self._stops.push(self._text.flush()) + self._stops.flush():
                yield Token(rest, choice=self._number)
            yield self._finished("stop" if self._stops.found else reason, cached)
            if not self._stops.found:
                yield from self._read_on(conversation, unread)
        except Exception:
            self._model.conversations.forget(conversation)
            raise
        finally:
            self._model.conversations.give_back(conversation)

    def _tokens(
        self, conversation: Conversation, logits: Tensor
    ) -> Generator[Any, Tensor, tuple[FinishReason, list[int]]]:
        """A `Token` for each; why they ended, and those of the reply that the conversation doesn't hold."""
        draft: list[int] = []
        drafts = self._drafts()
        rows, took_s = [logits], 0.0
        while True:
            chosen = self._accepted(rows, draft)
            if drafts:
                drafts.said([one.token for one in chosen])
                if took_s:
                    drafts.checked(len(draft), len(chosen) - 1, took_s)
            if refused := len(draft) + 1 - len(chosen):
                self._drop(conversation, refused)
            for one in chosen:
                self._count += 1
                self._clock.token()
                if one.token in self._model.end_ids:
                    return "stop", []
                yield self._token(one)
                if self._stops.found:
                    return "stop", []
            room = self._room - self._count
            if room <= 0:
                return "length", [chosen[-1].token]
            draft = drafts.next(room - 1) if drafts else []
            asked_s = time.monotonic()
            rows = list((yield Ask(conversation, [chosen[-1].token, *draft], last=1 + len(draft))))
            took_s = time.monotonic() - asked_s

    def _read_on(self, conversation: Conversation, unread: Sequence[int]) -> Generator[Any, Tensor, None]:
        """Compute what most likely comes next, so that the next turn's first token waits for its words alone."""
        ids = [*unread, *self._prompt.next_turn]
        if self._prompt.next_turn and len(conversation.ids) + len(ids) < self._model.context_tokens:
            try:
                yield Ask(conversation, ids)
            except Exception:  # the reply is said all the same
                self._model.conversations.forget(conversation)

    def _drafts(self) -> Drafts | None:
        """None where a draft could change what is said."""
        if not (self._model.network.together and self._choice.plain_greedy):
            return None
        return Drafts(self._prompt.ids, self._model.times)

    def _accepted(self, rows: Sequence[Tensor], draft: Sequence[int]) -> list[Chosen]:
        """The model's own choices, up to the first that the draft has not."""
        chosen: list[Chosen] = []
        for row, drafted in zip(rows, [*draft, None], strict=True):
            chosen.append(self._choice.choose(row))
            if chosen[-1].token != drafted or drafted in self._model.end_ids:
                break
        return chosen

    def _drop(self, conversation: Conversation, tokens: int) -> None:
        length = len(conversation.ids) - tokens
        conversation.kv.crop(length)
        del conversation.ids[length:]

    def _token(self, chosen: Chosen) -> Token:
        piece = self._stops.push(self._text.push(chosen.token))
        top = tuple(TopToken(self._model.decode([token]), logprob, token) for token, logprob in chosen.top)
        return Token(piece, chosen.token, chosen.logprob, top, self._number)

    def _prefilled(self, cached: int) -> Prefilled:
        prompt, model = self._prompt, self._model
        return Prefilled(len(prompt.ids), cached, prompt.dropped_messages, model.context_tokens, self._clock.elapsed_s)

    def _finished(self, reason: FinishReason, cached: int) -> Finished:
        return Finished(
            reason,
            Usage(len(self._prompt.ids), self._count, cached),
            self._clock.timing(),
            self._choice.seed,
            self._model.model_hash(),
            str(self._model.network.device),
            self._adapter,
            self._number,
        )
