"""Replies that follow a JSON Schema: at each step only tokens are allowed from which it can still be met.

llguidance does it (https://github.com/guidance-ai/llguidance); it is imported when a schema comes.
"""

import json
from collections.abc import Set
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from assistant.engine.generate.sampling import SamplingError

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer
    from llguidance._lib import JsonCompileOptions

LONGEST_SCHEMA = 200_000
"""Characters."""
FORM: "JsonCompileOptions" = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""One line: a small model that may write white space can write it for ever."""


class SchemaError(SamplingError):
    """A JSON Schema can't be read, asks for what we can't do, or can't be met by anything."""


class Constraints:
    """Makes constraints for one model's tokens. The first takes a second, in which the tokens are sorted."""

    def __init__(self, tokenizer: Any, end_ids: Set[int]) -> None:
        self._tokenizer = tokenizer
        self._end_ids = end_ids
        self._tokens: LLTokenizer | None = None

    def follow(self, schema: str) -> "Constraint":
        """Raises `SchemaError`."""
        from llguidance import LLMatcher
        from llguidance.hf import from_tokenizer

        if len(schema) > LONGEST_SCHEMA:
            raise SchemaError(f"json_schema has {len(schema):,} characters; {LONGEST_SCHEMA:,} are the most.")
        try:
            wanted = json.loads(schema)
            grammar = LLMatcher.grammar_from_json_schema(json.dumps(wanted), overrides=FORM)
            if self._tokens is None:
                self._tokens = from_tokenizer(self._tokenizer, eos_token=sorted(self._end_ids))
            matcher = LLMatcher(self._tokens, grammar)
        except (ValueError, RecursionError) as error:
            raise SchemaError(f"json_schema can't be followed: {_reason(error)}.") from error
        if matcher.is_error():
            raise SchemaError(f"json_schema can't be followed: {_reason(matcher.get_error())}.")
        return Constraint(matcher)


class Constraint:
    """Where in a schema one reply is."""

    def __init__(self, matcher: "LLMatcher") -> None:
        self._matcher = matcher

    def allowed(self, vocabulary: int) -> NDArray[np.bool_]:
        """For each token (V,) whether it may be next. An end of turn may, once the JSON is whole."""
        bits = np.unpackbits(np.frombuffer(self._matcher.compute_bitmask(), np.uint8), bitorder="little")
        found = np.zeros(vocabulary, np.bool_)
        found[: len(bits)] = bits[:vocabulary]
        return found

    def accept(self, token: int) -> None:
        """It was said."""
        self._matcher.consume_token(token)


def _reason(error: object) -> str:
    """The first line of an error."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
