"""Probabilities as shades: the less likely a token was, the stronger the colour behind it. Standard library only."""

import math

STEPS = ((0.5, 230), (0.1, 222), (0.01, 215), (0.0, 209))
"""(at least so probable, which of the 256 colours); above `PLAIN` there is none."""
PLAIN = 0.9
_PALE, _STRONG = (255, 250, 205), (255, 120, 80)
_LEAST_LOGPROB = math.log(0.001)


def strength(logprob: float) -> float:
    """0 for what was nearly certain, up to 1 for one in a thousand and less; even in the logarithm between."""
    return min(1.0, max(0.0, logprob / _LEAST_LOGPROB)) if logprob < math.log(PLAIN) else 0.0


def percent(logprob: float) -> str:
    """`87 %`, `0.4 %`, `<0.1 %`."""
    share = math.exp(logprob) * 100
    return f"{share:.0f} %" if share >= 9.95 else f"{share:.1f} %" if share >= 0.1 else "<0.1 %"


def escape(logprob: float, *, truecolour: bool) -> str:
    """What makes a terminal write dark on this token's shade; empty for a token without one."""
    if not (strong := strength(logprob)):
        return ""
    if truecolour:
        mixed = (round(pale + (full - pale) * strong) for pale, full in zip(_PALE, _STRONG, strict=True))
        return "\x1b[38;2;20;20;20;48;2;{};{};{}m".format(*mixed)
    return f"\x1b[38;5;16;48;5;{next(colour for least, colour in STEPS if math.exp(logprob) >= least)}m"


RESET = "\x1b[0m"
