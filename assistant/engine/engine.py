"""A loaded model: requests in, events out. Synchronous; threads and processes are one floor up.

Each request (`request.py`) becomes a generator of steps (`network.py`). `schedule.py` runs the steps of many together,
or of one alone.
"""

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers

from assistant.engine.generate.cache import Conversations
from assistant.engine.generate.chat_format import ChatFormat
from assistant.engine.generate.constraint import Constraints
from assistant.engine.generate.fitting import Fitted, fit
from assistant.engine.generate.reply import Loaded, Prompt, Reply
from assistant.engine.generate.scoring import embed, reread, score, tokenized
from assistant.engine.hardware import machine
from assistant.engine.models import model_folder
from assistant.engine.networks import loading
from assistant.engine.networks.network import Ask, Read, Steps
from assistant.engine.request import Chat, Complete, Embed, ReadAgain, Request, Score, Tokenize
from assistant.errors import ContextExceeded, RequestRefused
from assistant.events import Loading


class Engine:
    """One model on one device, its adapters, and the KV caches of the last conversations."""

    def __init__(self, model: Loaded, adapter: Path | None = None) -> None:
        """`adapter` speaks where a request names none."""
        self._model = model
        self._adapter = adapter
        self.chat_format = model.chat_format
        self.context_tokens = model.context_tokens
        self.device = str(model.network.device)

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        adapter: Path | None = None,
        device: str = "auto",
        dtype: str = "auto",
        threads: int = 0,
        kv_cache_bytes: int = 1 << 30,
        progress: Callable[[Loading], None] = lambda _: None,
    ) -> "Engine":
        """The model in `folder`, ready to chat. `threads` 0: one for each physical core, or `OMP_NUM_THREADS`.

        A GGUF file is converted the first time. Raises a `ModelError` that says what is wrong with model or machine.
        """
        _quiet()
        torch.set_num_threads(threads or default_threads())
        ready = model_folder.ready(folder, progress)
        progress(Loading("loading the weights"))
        network, config, context_tokens = loading.load(ready, device, dtype)
        tokenizer = model_folder.load_tokenizer(ready)
        chat_format = ChatFormat(tokenizer)
        end_ids = chat_format.end_ids | model_folder.end_ids(ready, config)
        if tokenizer.eos_token_id is not None:
            end_ids |= {tokenizer.eos_token_id}
        conversations = Conversations(network.cache, kv_cache_bytes)
        weights_hash = model_folder.WeightsHash(ready)
        model = Loaded(
            network,
            conversations,
            tokenizer,
            chat_format,
            frozenset(end_ids),
            context_tokens,
            weights_hash.value,
            Constraints(tokenizer, end_ids),
        )
        if adapter is not None:
            network.use(adapter)
        machine.release_memory()
        return cls(model, adapter)

    @property
    def model_hash(self) -> str:
        """SHA-256 of the weights."""
        return self._model.model_hash()

    def steps(self, request: Request) -> Steps:
        """The steps of a request, which end in its last event. Raises what the request's class says."""
        match request:
            case Chat():
                return self._chat(request)
            case Complete():
                used, model = self._used(request.adapter)
                prompt = Prompt(self._known(_text_ids(model, request.text)))
                return Reply(model, prompt, request.sampling, used, request.choice).steps()
            case Score():
                return self._score(request)
            case ReadAgain():
                return self._reread(request)
            case Embed():
                return embed([self._known(_text_ids(self._model, text)) for text in request.texts])
            case Tokenize():
                prompts = [self.chat_format.encode(request.messages)] if request.messages else []
                texts = [self.chat_format.encode_following(text) for text in request.texts]
                return tokenized(self._model, prompts + texts)

    def _chat(self, request: Chat) -> Steps:
        used, model = self._used(request.adapter)
        form, continued = self.chat_format, request.continue_final
        fitted: Fitted = fit(
            request.messages,
            lambda some: form.encode(some, continue_final=continued),
            model.context_tokens,
            min(request.sampling.max_tokens, model.context_tokens // 4),
            request.drop_oldest,
        )
        opening = "" if continued else form.opening(fitted.ids)
        prompt = Prompt(self._known(fitted.ids), fitted.dropped_messages, opening, form.stops, form.next_turn_ids)
        return Reply(model, prompt, request.sampling, used, request.choice).steps()

    def _score(self, request: Score) -> Steps:
        used, model = self._used(request.adapter)
        prompt = self.chat_format.encode(request.messages)
        following = [self.chat_format.encode_following(text) for text in request.continuations]
        _refuse_longer(model, len(prompt) + max(map(len, following), default=0))
        return score(model, self._known(prompt), [self._known(ids) for ids in following], used)

    def _reread(self, request: ReadAgain) -> Steps:
        used, model = self._used(request.adapter)
        form, reply = self.chat_format, request.reply
        if isinstance(reply, str):
            opening = form.opening(form.encode(request.messages))
            following = form.encode_following(reply.removeprefix(opening))
        else:
            following = list(reply)
        prompt = fit(request.messages, form.encode, model.context_tokens, len(following) + 1, drop_oldest=True).ids
        _refuse_longer(model, len(prompt) + len(following))
        return reread(model, self._known(prompt), self._known(following), request.top, used)

    def _known(self, ids: list[int]) -> list[int]:
        """`ids`. Raises `RequestRefused` for an id without a row in the embedding: a tokenizer may have more tokens."""
        rows = self._model.network.vocabulary
        if wrong := next((one for one in ids if not 0 <= one < rows), None):
            raise RequestRefused(
                f"The model has no token {wrong}: its embedding has {rows:,} rows.", code="bad_token", status=400
            )
        return ids

    def run(self, asks: Sequence[Ask | Read]) -> list[Any]:
        """The tensor that each wants, or the exception that it ended with."""
        network = self._model.network
        shared = [ask for ask in asks if isinstance(ask, Ask)]
        try:
            if len(shared) == len(asks) and (network.together or len(asks) == 1):
                return network.logits(shared)
            if len(asks) == 1:
                return [network.hidden(ask.ids) for ask in asks]
        except Exception as error:
            if len(asks) == 1:
                return [error]
        return [answer for ask in asks for answer in self.run([ask])]  # also where one failed: the others needn't

    def close(self) -> None:
        """Give the memory back."""
        self._model.conversations.clear()
        self._model.network.close()
        machine.release_memory()
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()

    def _used(self, adapter: Path | None) -> tuple[str, Loaded]:
        """(the adapter's hash, the model with the context that its virtual tokens leave)."""
        network, chosen = self._model.network, adapter or self._adapter
        used = "" if chosen is None else network.use(chosen)
        return used, replace(self._model, context_tokens=self.context_tokens - network.beginning_tokens(used))


def _text_ids(model: Loaded, text: str) -> list[int]:
    ids = model.chat_format.encode_text(text)
    _refuse_longer(model, len(ids))
    return ids


def _refuse_longer(model: Loaded, tokens: int) -> None:
    if tokens >= model.context_tokens:
        raise ContextExceeded(
            f"The text has {tokens:,} tokens, the context {model.context_tokens:,}. Shorten it.",
            code="context_length_exceeded",
            status=400,
        )


def default_threads() -> int:
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
