"""A loaded model: messages in, tokens out. Synchronous; threads and processes are one floor up."""

import inspect
import os
import time
import warnings
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from assistant.engine import model_folder, placement, weights
from assistant.engine.cache import PrefixCache, as_input
from assistant.engine.chat_format import ChatFormat
from assistant.engine.fitting import Fitted, fit
from assistant.engine.sampling import Sampling
from assistant.engine.text_stream import StopStrings, TextStream
from assistant.engine.token_choice import TokenChoice
from assistant.errors import ContextExceeded
from assistant.events import Event, Finished, FinishReason, Loading, Prefilled, Timing, Token, Usage
from prompts.message import Message

PREFILL_TOKENS = 512
"""Prompt tokens computed at once: between two such pieces a stop request is heard."""

Cancelled = Callable[[], bool]


@dataclass(slots=True)
class Prompt:
    """Ids to begin from, and what is to be said of them."""

    ids: list[int]
    dropped_messages: int = 0
    opening: str = ""
    stops: tuple[str, ...] = ()


class Engine:
    """One model on one device, and the KV cache of its last conversation."""

    def __init__(self, model: Any, tokenizer: Any, folder: Path, at: placement.Placement, parameters: int) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self.chat_format = ChatFormat(tokenizer)
        self._cache = PrefixCache(model.config)
        self._hash = model_folder.WeightsHash(folder)
        self._takes_logits_to_keep = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._end_ids = self.chat_format.end_ids | model_folder.end_ids(folder, model.config)
        if tokenizer.eos_token_id is not None:
            self._end_ids |= {tokenizer.eos_token_id}
        self.context_tokens = placement.context_tokens(model.config, parameters, at)
        self.device = str(at.device)

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        device: str = "auto",
        dtype: str = "auto",
        threads: int = 0,
        progress: Callable[[Loading], None] = lambda _: None,
    ) -> "Engine":
        """The model in `folder`, ready to chat. `threads` 0: one for each physical core, or `OMP_NUM_THREADS`.

        A GGUF file is converted the first time. Raises a `ModelError` that says what is wrong with model or machine.
        """
        _quiet()
        torch.set_num_threads(threads or _default_threads())
        ready = model_folder.ready(folder, progress)
        weights.check(ready)
        parameters = weights.count_parameters(ready)
        at = placement.place(parameters, device, dtype)
        progress(Loading("loading the weights"))
        model = weights.load(ready, at.dtype, at.device)
        return cls(model, model_folder.load_tokenizer(ready), ready, at, parameters)

    @property
    def model_hash(self) -> str:
        """SHA-256 of the weights."""
        return self._hash.value()

    def chat(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        *,
        continue_final: bool = False,
        drop_oldest: bool = True,
        cancelled: Cancelled = lambda: False,
    ) -> Generator[Event]:
        """The reply: `Prefilled`, a `Token` each step, `Finished`. With `continue_final` the last message goes on.

        A conversation that outgrows the context loses its oldest turns, or with `drop_oldest=False` raises
        `ContextExceeded`, as does one whose last turn alone is too long.
        """
        reserve = min(sampling.max_tokens, self.context_tokens // 4)
        fitted: Fitted = fit(
            messages,
            lambda some: self.chat_format.encode(some, continue_final=continue_final),
            self.context_tokens,
            reserve,
            drop_oldest,
        )
        opening = "" if continue_final else self.chat_format.opening(fitted.ids)
        prompt = Prompt(fitted.ids, fitted.dropped_messages, opening, self.chat_format.stops)
        return self._reply(prompt, sampling, cancelled)

    def complete(self, text: str, sampling: Sampling, *, cancelled: Cancelled = lambda: False) -> Generator[Event]:
        """What follows `text`, without a chat template. Raises `ContextExceeded` for a text that is too long."""
        ids = self.chat_format.encode_text(text)
        if len(ids) >= self.context_tokens:
            raise ContextExceeded(
                f"The text has {len(ids):,} tokens, the context {self.context_tokens:,}. Shorten it.",
                code="context_length_exceeded",
                status=400,
            )
        return self._reply(Prompt(ids), sampling, cancelled)

    def close(self) -> None:
        """Give the memory back."""
        self._cache.clear()
        del self._model
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()

    def _reply(self, prompt: Prompt, sampling: Sampling, cancelled: Cancelled) -> Generator[Event]:
        started_s = time.monotonic()
        first_token_s = 0.0
        cached = self._cache.keep_prefix(prompt.ids)
        choice = TokenChoice(sampling, prompt.ids, self._model.device)
        text = TextStream(self._decode, self.chat_format.hidden_ids)
        stops = StopStrings((*sampling.stop, *prompt.stops))
        room = min(sampling.max_tokens, self.context_tokens - len(prompt.ids))
        count = 0

        def finished(reason: FinishReason) -> Finished:
            usage = Usage(len(prompt.ids), count, cached)
            timing = Timing(0.0, first_token_s, time.monotonic() - started_s)
            return Finished(reason, usage, timing, choice.seed, self.model_hash, self.device)

        logits = None
        for start in range(cached, len(prompt.ids), PREFILL_TOKENS):
            if cancelled():
                yield finished("cancelled")
                return
            logits = self._forward(prompt.ids[start : start + PREFILL_TOKENS])
        yield Prefilled(len(prompt.ids), cached, prompt.dropped_messages, self.context_tokens)
        if prompt.opening:
            yield Token(prompt.opening)
        reason: FinishReason = "length"
        while count < room:
            if cancelled():
                reason = "cancelled"
                break
            assert logits is not None
            token, logprob = choice.choose(logits)
            count += 1
            first_token_s = first_token_s or time.monotonic() - started_s
            if token in self._end_ids:
                reason = "stop"
                break
            piece = stops.push(text.push(token))
            yield Token(piece, token, logprob)
            if stops.found:
                reason = "stop"
                break
            if count < room:
                logits = self._forward([token])
        if rest := stops.push(text.flush()) + stops.flush():
            yield Token(rest)
        yield finished("stop" if stops.found else reason)

    @torch.inference_mode()
    def _forward(self, ids: list[int]) -> torch.Tensor:
        """Logits (V,) of what follows `ids`, which join the cache."""
        options = {"logits_to_keep": 1} if self._takes_logits_to_keep else {}
        known = self._cache.ids
        try:
            out = self._model(
                input_ids=as_input(ids, self._model.device),
                past_key_values=self._cache.layers,
                use_cache=True,
                **options,
            )
        except BaseException:
            self._cache.clear()  # some layers may have the new tokens, others not
            raise
        known += ids
        logits: torch.Tensor = out.logits[0, -1]
        return logits

    def _decode(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text


def _default_threads() -> int:
    """One for each physical core, or what the environment says."""
    import psutil

    if "OMP_NUM_THREADS" in os.environ:
        return torch.get_num_threads()
    return psutil.cpu_count(logical=False) or torch.get_num_threads()


def _quiet() -> None:
    """Let transformers write nothing to the terminal: what matters is raised."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", module=r"(transformers|torch)\.")
