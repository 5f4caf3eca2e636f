"""The C library, built for each instruction set that this CPU has."""

from collections.abc import Iterator

import pytest

from assistant.engine.hardware.machine import cpu_flags
from assistant.engine.networks.llama import native

SETS = [name for name, (flags, _) in native.INSTRUCTION_SETS.items() if flags <= cpu_flags()]


@pytest.fixture(params=SETS or [pytest.param("", marks=pytest.mark.skip("needs AVX2"))], scope="module")
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    """Its name; the library is the one for it, and computes with many rows too, whatever is faster on this CPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "INSTRUCTION_SETS", {request.param: native.INSTRUCTION_SETS[request.param]})
        patch.setattr(native.NativeLinear, "many_dtype", None)
        native.library.cache_clear()
        if native.library() is None:
            pytest.skip("needs a C compiler")
        yield request.param
    native.library.cache_clear()
