"""General text to measure forgetting on: how much its perplexity rises with an adapter."""

from pathlib import Path

from assistant.engine.generate.chat_format import ChatFormat
from assistant.errors import TrainingRefused
from finetune.data.tokens import Row

PROBE = Path(__file__).parents[1] / "texts" / "probe.txt"
"""Public-domain prose that no dataset of this package contains."""
ROW_TOKENS = 256
MOST_TOKENS = 16_384


def rows(form: ChatFormat, limit: int, file: Path = PROBE, most_tokens: int = MOST_TOKENS) -> list[list[Row]]:
    """Rows of the text's paragraphs, `ROW_TOKENS` to twice that and at most `limit` tokens; all tokens but a row's
    first are predicted. `most_tokens`: about how many in all; 0: the whole text.

    Raises `TrainingRefused` if the file is empty or can't be read.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingRefused(f"The general text {file} can't be read: {error}. Name another with --probe.") from error
    longest = min(limit, 2 * ROW_TOKENS)
    found: list[list[Row]] = []
    pending: list[str] = []
    for paragraph in [*filter(None, (one.strip() for one in text.split("\n\n"))), ""]:
        if paragraph:
            pending.append(paragraph)
        ids = form.encode_text("\n\n".join(pending)) if pending else []
        if len(ids) >= ROW_TOKENS or (not paragraph and len(ids) > 1):
            found += [[_row(ids[at : at + longest])] for at in range(0, len(ids), longest)]
            pending = []
        if sum(len(row.ids) for (row,) in found) >= most_tokens > 0:
            break
    kept = [one for one in found if one[0].supervised]
    if not kept:
        raise TrainingRefused(f"The general text {file} is empty. Name another with --probe.")
    return kept


def _row(ids: list[int]) -> Row:
    return Row.of(ids, [(1, len(ids))])
