"""Script for a Python with llama-cpp-python: the tokens that llama.cpp chooses with a GGUF file.

Runs in its own process, as llama.cpp aborts on unexpected input, and imports nothing of this package. Reads JSON from
standard input: {"file", "replies": [[prompt ids, reply ids], ...], "texts"}. Writes JSON: {"version", "choices": for
each reply the likeliest token at each position, "tokens": for each text}.
"""

import contextlib
import json
import os
import sys
from typing import Any


def asked(file: str, replies: list[list[list[int]]], texts: list[str]) -> dict[str, Any]:
    """The model's greedy tokens along the replies, and its tokenization of the texts."""
    import llama_cpp  # type: ignore[import-not-found]

    longest = max(len(prompt) + len(reply) for prompt, reply in replies)
    model = llama_cpp.Llama(file, n_ctx=longest + 8, n_batch=longest + 8, logits_all=True, verbose=False)
    choices = []
    for prompt, reply in replies:
        model.reset()
        model.eval([*prompt, *reply])
        rows = model.scores[len(prompt) - 1 : len(prompt) + len(reply) - 1]
        choices.append(rows.argmax(-1).tolist())
    tokens = [model.tokenize(one.encode(), add_bos=False, special=False) for one in texts]
    return {"version": llama_cpp.__version__, "choices": choices, "tokens": tokens}


if __name__ == "__main__":
    out = os.fdopen(os.dup(1), "w")  # llama.cpp also prints to standard output
    with contextlib.redirect_stdout(sys.stderr):
        os.dup2(2, 1)
        told = asked(**json.load(sys.stdin))
    json.dump(told, out)
    out.close()
