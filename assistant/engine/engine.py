"""A loaded model: messages in, events out. Synchronous; threads and processes are one floor up.

Each request is a generator of steps (`network.py`). `chat`, `complete`, `score` and `embed` run one by itself; a server
takes the steps of many (`replying`, `completing`, `scoring`, `embedding`) and runs them together (`schedule.py`).
"""

import os
import warnings
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers

from assistant.engine import machine
from assistant.engine.chat_format import ChatFormat
from assistant.engine.generate.cache import Conversations
from assistant.engine.generate.constraint import Constraints
from assistant.engine.generate.fitting import Fitted, fit
from assistant.engine.generate.reply import Loaded, Prompt, Reply
from assistant.engine.generate.sampling import Sampling
from assistant.engine.generate.schedule import alone
from assistant.engine.generate.scoring import embed, reread, score, tokenized
from assistant.engine.models import model_folder
from assistant.engine.networks import loading
from assistant.engine.networks.network import Ask, Read, Steps
from assistant.errors import ContextExceeded, RequestRefused
from assistant.events import Embedded, Event, Loading, Scored
from prompts.message import Message


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

    def chat(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        *,
        continue_final: bool = False,
        drop_oldest: bool = True,
        adapter: Path | None = None,
    ) -> Generator[Event]:
        """The reply: `Prefilled`, a `Token` each step, `Finished`. Closing the iterator stops it.

        With `continue_final` the last message goes on. A conversation that outgrows the context loses its oldest
        turns, or with `drop_oldest=False` raises `ContextExceeded`, as does one whose last turn alone is too long.
        """
        steps = self.replying(
            messages, sampling, continue_final=continue_final, drop_oldest=drop_oldest, adapter=adapter
        )
        return alone(steps, self.run)

    def complete(self, text: str, sampling: Sampling, *, adapter: Path | None = None) -> Generator[Event]:
        """What follows `text`, without a chat template. Raises `ContextExceeded` for a text that is too long."""
        return alone(self.completing(text, sampling, adapter=adapter), self.run)

    def score(
        self, messages: Sequence[Message], continuations: Sequence[str], *, adapter: Path | None = None
    ) -> list[list[float]]:
        """For each continuation of the conversation the natural log-probability of each of its tokens.

        The prompt is computed once for all. Raises `ContextExceeded` where it is too long.
        """
        (scored,) = alone(self.scoring(messages, continuations, adapter=adapter), self.run)
        assert isinstance(scored, Scored)
        return [list(one) for one in scored.logprobs]

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """A vector of length 1 for each text: the mean of the last layer's output over its tokens."""
        (embedded,) = alone(self.embedding(texts), self.run)
        assert isinstance(embedded, Embedded)
        return [list(one) for one in embedded.vectors]

    def replying(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        *,
        continue_final: bool = False,
        drop_oldest: bool = True,
        adapter: Path | None = None,
        choice: int = 0,
    ) -> Steps:
        """The steps of `chat`. `choice` numbers one of several answers to the same prompt."""
        used, model = self._used(adapter)
        reserve = min(sampling.max_tokens, model.context_tokens // 4)
        fitted: Fitted = fit(
            messages,
            lambda some: self.chat_format.encode(some, continue_final=continue_final),
            model.context_tokens,
            reserve,
            drop_oldest,
        )
        opening = "" if continue_final else self.chat_format.opening(fitted.ids)
        form = self.chat_format
        prompt = Prompt(fitted.ids, fitted.dropped_messages, opening, form.stops, form.next_turn_ids)
        return Reply(model, prompt, sampling, used, choice).steps()

    def completing(self, text: str, sampling: Sampling, *, adapter: Path | None = None, choice: int = 0) -> Steps:
        """The steps of `complete`."""
        used, model = self._used(adapter)
        return Reply(model, Prompt(_text_ids(model, text)), sampling, used, choice).steps()

    def scoring(
        self, messages: Sequence[Message], continuations: Sequence[str], *, adapter: Path | None = None
    ) -> Steps:
        """The steps of `score`."""
        used, model = self._used(adapter)
        prompt = self.chat_format.encode(messages)
        following = [self.chat_format.encode_following(text) for text in continuations]
        _refuse_longer(model, len(prompt) + max(map(len, following), default=0))
        return score(model, prompt, following, used)

    def rereading(
        self, messages: Sequence[Message], reply: str | Sequence[int], top: int, *, adapter: Path | None = None
    ) -> Steps:
        """The steps that end in `Reread`: a reply, as text or as the ids it was made of, token by token.

        Raises `ContextExceeded` where it is too long; ids that the model doesn't have are refused.
        """
        if isinstance(reply, str):
            opening = self.chat_format.opening(self.chat_format.encode(messages))
            following = self.chat_format.encode_following(reply.removeprefix(opening))
        else:
            following = list(reply)
        if wrong := [one for one in following if one >= len(self._model.tokenizer)]:
            raise RequestRefused(f"The model has no token {wrong[0]}.", code="bad_token", status=400)
        used, model = self._used(adapter)
        reserve = len(following) + 1
        prompt = fit(messages, self.chat_format.encode, model.context_tokens, reserve, drop_oldest=True).ids
        _refuse_longer(model, len(prompt) + len(following))
        return reread(model, prompt, following, top, used)

    def embedding(self, texts: Sequence[str]) -> Steps:
        """The steps of `embed`."""
        return embed([_text_ids(self._model, text) for text in texts])

    def tokenizing(self, messages: Sequence[Message], texts: Sequence[str]) -> Steps:
        """The steps that end in `Tokenized`: of a prompt where there are `messages`, and of texts that follow one."""
        prompts = [self.chat_format.encode(messages)] if messages else []
        ids = prompts + [self.chat_format.encode_following(text) for text in texts]
        return tokenized(self._model, ids)

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
