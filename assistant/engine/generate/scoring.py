"""How likely texts are after a prompt, all of them after one prefill; what texts mean, as vectors; their tokens."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from assistant.engine.generate.reply import Loaded, read_prompt
from assistant.engine.generate.text_stream import TextStream
from assistant.engine.networks.network import Ask, Conversation, Read, Steps
from assistant.events import Embedded, Reread, Scored, Token, Tokenized, TopToken

MOST_NODES = 256
"""Tokens of continuations computed at once: their logits take 50 MB with a vocabulary of 49,152."""


@dataclass(slots=True)
class Tree:
    """Continuations with their common beginnings told once: node i is the token `ids[i]` after node `parents[i]`."""

    ids: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    _children: dict[tuple[int, int], int] = field(default_factory=dict)

    def add(self, ids: Sequence[int]) -> list[int]:
        """The nodes of a continuation, one for each token."""
        nodes, at = [], -1
        for token in ids:
            if (at, token) not in self._children:
                self._children[at, token] = len(self.ids)
                self.ids.append(token)
                self.parents.append(at)
            at = self._children[at, token]
            nodes.append(at)
        return nodes


def score(model: Loaded, prompt: Sequence[int], continuations: Sequence[Sequence[int]], adapter: str = "") -> Steps:
    """`Scored`: the log-probability of each token of each continuation, given the prompt and the tokens before it."""
    conversation, cached = model.conversations.take(prompt, adapter)
    scores: list[list[float]] = []
    try:
        first = (yield from read_prompt(model, conversation, prompt)).float().log_softmax(-1)
        for some in _portions(continuations):
            if model.network.trees:
                scores += yield from _by_tree(conversation, first, some)
            else:
                for ids in some:
                    scores.append((yield from _by_itself(model, prompt, conversation, first, ids)))
    except Exception:
        model.conversations.forget(conversation)
        raise
    finally:
        model.conversations.give_back(conversation)
    yield Scored(tuple(map(tuple, scores)), len(prompt), cached)


def reread(model: Loaded, prompt: Sequence[int], ids: Sequence[int], top: int, adapter: str = "") -> Steps:
    """`Reread`: each of `ids` given the prompt and the tokens before it, with the `top` likeliest in its place.

    Logits are kept of `MOST_NODES` tokens at a time, however long the text is.
    """
    conversation, cached = model.conversations.take(prompt, adapter)
    text = TextStream(model.decode, model.chat_format.hidden_ids)
    tokens: list[Token] = []
    try:
        row = yield from read_prompt(model, conversation, prompt)
        for start in range(0, len(ids), MOST_NODES):
            some = ids[start : start + MOST_NODES]
            after = yield Ask(conversation, some, last=len(some))
            rows = [row, *after]
            tokens += [_token(model, text.push(token), token, row, top) for token, row in zip(some, rows, strict=False)]
            row = after[-1]
        if tokens and (rest := text.flush()):
            tokens.append(replace(tokens[-1], text=tokens.pop().text + rest))
    except Exception:
        model.conversations.forget(conversation)
        raise
    finally:
        model.conversations.give_back(conversation)
    yield Reread(tuple(tokens), len(prompt), cached)


def _token(model: Loaded, text: str, token: int, row: Tensor, top: int) -> Token:
    logprobs = row.float().log_softmax(-1)
    likeliest = logprobs.topk(top)
    pairs = zip(likeliest.indices.tolist(), likeliest.values.tolist(), strict=True)
    return Token(text, token, float(logprobs[token]), tuple(TopToken(model.decode([i]), p, i) for i, p in pairs))


def embed(texts: Sequence[Sequence[int]]) -> Steps:
    """`Embedded`: for each text the mean of the last layer's output, of length 1."""
    vectors: list[tuple[float, ...]] = []
    for ids in texts:
        mean = (yield Read(ids)).float().mean(0)
        vectors.append(tuple(torch.nn.functional.normalize(mean, dim=0).tolist()))
    yield Embedded(tuple(vectors), sum(map(len, texts)))


def tokenized(model: Loaded, texts: Sequence[Sequence[int]]) -> Steps:
    """`Tokenized`: texts by their ids."""
    pieces = (tuple(model.chat_format.pieces(ids)) for ids in texts)
    yield Tokenized(tuple(map(tuple, texts)), tuple(pieces), model.context_tokens)


def _portions(continuations: Sequence[Sequence[int]]) -> Iterator[list[Sequence[int]]]:
    """Runs of continuations of at most `MOST_NODES` tokens together, or of one that is longer."""
    some: list[Sequence[int]] = []
    for ids in continuations:
        if some and sum(map(len, some)) + len(ids) > MOST_NODES:
            yield some
            some = []
        some.append(ids)
    yield some


def _by_tree(
    conversation: Conversation, first: Tensor, continuations: Sequence[Sequence[int]]
) -> Generator[Ask, Tensor, list[list[float]]]:
    """All in one pass. The last token of each needs no pass of its own: nothing is asked about what follows it."""
    tree = Tree()
    nodes = [tree.add(ids[:-1]) for ids in continuations]
    after = torch.empty(0)
    if tree.ids:
        after = (yield Ask(conversation, tree.ids, last=len(tree.ids), parents=tree.parents)).float().log_softmax(-1)
    return [_picked([first, *(after[node] for node in at)], ids) for at, ids in zip(nodes, continuations, strict=True)]


def _by_itself(
    model: Loaded, prompt: Sequence[int], conversation: Conversation, first: Tensor, ids: Sequence[int]
) -> Generator[Ask, Tensor, list[float]]:
    """One pass for each continuation, which is taken back out of the conversation after it."""
    if len(ids) < 2:
        return _picked([first], ids)
    after = (yield Ask(conversation, ids[:-1], last=len(ids) - 1)).float().log_softmax(-1)
    if conversation.kv.crop(len(prompt)):
        del conversation.ids[len(prompt) :]
    else:  # a state that can't be turned back
        conversation.kv, conversation.ids = model.network.cache(conversation.adapter), []
        yield from read_prompt(model, conversation, prompt)
    return _picked([first, *after], ids)


def _picked(rows: Sequence[Tensor], ids: Sequence[int]) -> list[float]:
    return [float(row[token]) for row, token in zip(rows, ids, strict=False)]
