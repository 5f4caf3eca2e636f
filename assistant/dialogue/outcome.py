"""How a reply went, as the log keeps it."""

from assistant.events import FinishReason, Timing
from assistant.growing import Growing
from assistant.store.messages import Outcome

STATES: dict[FinishReason, str] = {"stop": "complete", "length": "cut", "cancelled": "stopped"}


def continued_from(text: str, before: Outcome) -> Growing:
    """A reply with `text` that goes on: its tokens and its time so far count, its tokens' ids where all are known."""
    timing = Timing(before.load_s, before.first_token_s, before.total_s)
    growing = Growing(text, before.completion_tokens, timing)
    if sum(before.token_lengths) == len(text):
        growing.token_ids, growing.logprobs = list(before.token_ids), list(before.logprobs)
        growing.token_lengths = list(before.token_lengths)
    return growing


def state_of(growing: Growing) -> str:
    """The state of a reply's row when its events have ended."""
    return STATES[growing.finished.reason] if growing.finished else "interrupted"


def outcome_of(growing: Growing) -> Outcome:
    """Figures of the engine where it finished, our own count and clock where it was cut off."""
    read, done, timing = growing.prefilled, growing.finished, growing.timing
    cached = done.usage.cached_tokens if done else read.cached_tokens if read else 0
    return Outcome(
        model_hash=done.model_hash if done else "",
        prompt_tokens=growing.prompt_tokens,
        cached_tokens=min(cached, growing.prompt_tokens),
        completion_tokens=growing.tokens,
        dropped_messages=read.dropped_messages if read else 0,
        context_tokens=read.context_tokens if read else 0,
        load_s=timing.load_s,
        first_token_s=timing.first_token_s,
        total_s=timing.total_s,
        finish_reason=done.reason if done else "cancelled",
        device=done.device if done else "",
        token_ids=growing.token_ids,
        logprobs=growing.logprobs,
        token_lengths=growing.token_lengths,
    )
