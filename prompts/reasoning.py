"""Reasoning that a model writes between think tags, told apart from its answer."""

OPEN, CLOSE = "<think>", "</think>"


def split(text: str) -> tuple[str, str, bool]:
    """(reasoning, answer, whether the reasoning has ended).

    Reasoning stands at the start of a reply. Some models' templates open the tag themselves, so that the reply
    holds only the closing one.
    """
    start = text.lstrip()
    if start.startswith(OPEN):
        reasoning, closed, rest = start[len(OPEN) :].partition(CLOSE)
    elif CLOSE in text:
        reasoning, closed, rest = text.partition(CLOSE)
    else:
        return "", text, True
    return reasoning.strip(), rest.lstrip(), bool(closed)


def answer(text: str) -> str:
    """The reply without its reasoning."""
    return split(text)[1]
