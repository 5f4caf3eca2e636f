"""The engine's log says what went wrong and where, and nothing of what was said."""

import logging

from assistant.server.log import Discreet

SECRET = "my grandmother's recipe"


def test_an_exception_s_message_is_left_out() -> None:
    formatter = Discreet("%(message)s")
    try:
        {}[SECRET]
    except KeyError as error:
        trouble = (KeyError, error, error.__traceback__)
    record = logging.LogRecord("x", logging.ERROR, "x", 1, "a request failed", (), trouble)
    text = formatter.format(record)
    assert text.startswith("a request failed\n") and text.endswith("\nKeyError")
    assert "test_an_exception_s_message_is_left_out" in text
    assert SECRET not in text
