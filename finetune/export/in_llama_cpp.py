"""A script for a Python that has llama-cpp-python: what llama.cpp chooses for a GGUF file.

It runs in a process of its own, since llama.cpp ends it where it meets what it doesn't expect. Nothing of ours is used.
JSON comes on standard input: {"file", "replies": [[prompt ids, reply ids], …], "texts"}; JSON goes out:
{"version", "choices": for each reply the likeliest token at each place, "tokens": of each text}.
"""

import contextlib
import json
import os
import sys
from typing import Any


def asked(file: str, replies: list[list[list[int]]], texts: list[str]) -> dict[str, Any]:
    """What the file's model chooses along the replies, and how it cuts texts into tokens."""
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
    out = os.fdopen(os.dup(1), "w")  # llama.cpp writes what it likes to the standard output
    with contextlib.redirect_stdout(sys.stderr):
        os.dup2(2, 1)
        told = asked(**json.load(sys.stdin))
    json.dump(told, out)
    out.close()
