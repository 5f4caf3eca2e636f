"""Keys, tokens and passwords: the prefixes that services give theirs, and what is called a secret where it stands.

The prefixes are those that the services document and that secret scanners (GitHub's, gitleaks) look for.
"""

import re
from collections.abc import Iterator

from assistant.redaction.hit import Hit
from assistant.redaction.presence import has_any

_PREFIXED = "|".join(
    (
        r"(?:AKIA|ASIA)[0-9A-Z]{16}",  # Amazon
        r"gh[pousr]_[A-Za-z0-9]{36,}",  # GitHub
        r"github_pat_[A-Za-z0-9_]{50,}",
        r"glpat-[A-Za-z0-9_-]{20,}",  # GitLab
        r"sk-(?:ant-|proj-|or-)?[A-Za-z0-9_-]{20,}",  # Anthropic, OpenAI, DeepSeek, OpenRouter
        r"(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,}",  # Stripe
        r"xox[abeoprs]-[A-Za-z0-9-]{10,}",  # Slack
        r"AIza[A-Za-z0-9_-]{35}",  # Google
        r"ya29\.[A-Za-z0-9_-]{20,}",
        r"hf_[A-Za-z0-9]{30,}",  # Hugging Face
        r"npm_[A-Za-z0-9]{36}",
        r"pypi-[A-Za-z0-9_-]{50,}",
        r"dop_v1_[a-f0-9]{64}",  # DigitalOcean
        r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",  # SendGrid
        r"LTAI[A-Za-z0-9]{12,20}",  # Alibaba
        r"AKID[A-Za-z0-9]{32}",  # Tencent
        r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",  # JSON Web Token (RFC 7519)
    )
)
_TOKEN = re.compile(rf"(?<![A-Za-z0-9_-])(?:{_PREFIXED})(?![A-Za-z0-9])")
_PREFIXES = (
    "AKIA", "ASIA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-",
    "sk-", "_live_", "_test_", "xox", "AIza", "ya29.", "hf_", "npm_", "pypi-",
    "dop_v1_", "SG.", "LTAI", "AKID", "eyJ",
)  # fmt: skip
_NAMES = ("key", "secret", "token", "passw", "passphrase", "pwd", "密码", "口令", "密钥", "令牌")
"""One of each must be in a text that has a secret."""
_KEY_BLOCK = re.compile(r"-----BEGIN ([A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?)-----[\s\S]{0,20000}?(?:-----END \1-----|\Z)")
_IN_URL = re.compile(r"://([^\s/:@]{1,64}:[^\s/@]{1,128})@(?=[A-Za-z0-9\[])")
_BEARER = re.compile(r"\b[Bb]earer ([A-Za-z0-9._~+/-]{16,}=*)")
_CALLED_SO = re.compile(
    r"(?:(?:api|access|auth|secret|private|client)[_ -]?(?:key|token|secret)|secret|token|passw(?:or)?d|passphrase|pwd"
    r"|密码|口令|密钥|令牌)[\"'`]?\s{0,3}(?:[:=：]|\bis\b|是|为)\s{0,3}[\"'`]?([^\s\"'`,;，。；、]{6,200})",
    re.IGNORECASE,
)
_CODE = re.compile(r"[(\[{<$|*]|^[A-Z0-9_]+$|^[A-Za-z_]+(?:\.[A-Za-z_]+)+|://")


def secrets(text: str) -> Iterator[Hit]:
    """The secrets in a text."""
    for pattern, group, there in (
        (_KEY_BLOCK, 0, "-----BEGIN" in text),
        (_TOKEN, 0, has_any(text, _PREFIXES)),
        (_IN_URL, 1, "://" in text),
        (_BEARER, 1, "earer " in text),
    ):
        for match in pattern.finditer(text) if there else ():
            yield Hit("secret", match.start(group), match.end(group), match[group], match[group])
    if not has_any(text.lower(), _NAMES):
        return
    for match in _CALLED_SO.finditer(text):
        value = match[1].rstrip(".!?。！？)")
        if _is_random(value):
            yield Hit("secret", match.start(1), match.start(1) + len(value), value, value)


def _is_random(value: str) -> bool:
    """Letters and digits mixed, and no expression of a program or name of a variable."""
    mixed = any(one.isdigit() for one in value) and any(one.isalpha() for one in value)
    return len(value) >= 6 and mixed and not _CODE.search(value)
