"""How a reply came about, in words: one list for commands and screens."""

import json

from sqlite_utils import Database

from assistant.store import messages
from assistant.store.messages import Outcome, Provenance


def facts(db: Database, message_id: int) -> list[tuple[str, str]]:
    """Name and value of all that is known of a reply but its template's text. Raises `StoreError` for no reply."""
    info = messages.reply_info(db, message_id)
    told = [*_made_with(info.provenance, info.outcome), *_went(info.outcome)]
    return [(name, value) for name, value in told if value]


def _made_with(made: Provenance, outcome: Outcome) -> list[tuple[str, str]]:
    sampling = {name: value for name, value in made.sampling.items() if value not in (None, "", []) and name != "seed"}
    return [
        ("model", made.model),
        ("weights", outcome.model_hash),
        ("adapter", made.adapter_hash or "none"),
        ("template", made.template),
        ("template hash", made.template_hash if made.template_text else ""),
        ("inputs", json.dumps(made.inputs, ensure_ascii=False) if made.inputs else ""),
        ("sampling", ", ".join(f"{name} {value}" for name, value in sampling.items())),
        ("seed", "" if made.seed is None else str(made.seed)),
        ("version", made.version),
        ("device", outcome.device),
    ]


def _went(outcome: Outcome) -> list[tuple[str, str]]:
    dropped = outcome.dropped_messages
    cached = f", {outcome.cached_tokens:,} of them in the cache" if outcome.cached_tokens else ""
    return [
        ("prompt", f"{outcome.prompt_tokens:,} tokens{cached}" if outcome.prompt_tokens else ""),
        ("context", f"{outcome.context_tokens:,} tokens" if outcome.context_tokens else ""),
        ("left out", f"the {dropped:,} oldest messages" if dropped else ""),
        ("reply", f"{outcome.completion_tokens:,} tokens" if outcome.completion_tokens else ""),
        ("loading", f"{outcome.load_s:.2f} s" if outcome.load_s else ""),
        ("first token", f"{outcome.first_token_s:.3f} s" if outcome.first_token_s else ""),
        ("speed", f"{outcome.tokens_per_s:.1f} tokens/s" if outcome.tokens_per_s else ""),
        ("ended by", outcome.finish_reason),
        ("continued", f"at character {outcome.continued_at:,}" if outcome.continued_at is not None else ""),
    ]
