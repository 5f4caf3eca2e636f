"""Telephone numbers: international ones, and those that are written as somebody in one of the `REGIONS` would.

A number alone is no telephone number: without a + it must be grouped as one is, be a Chinese mobile number, or be
called one just before.
"""

import re
from collections.abc import Iterator

from assistant.redaction.hit import Hit

REGIONS = (
    "US", "CN", "GB", "DE", "FR", "IT", "ES", "NL", "BE", "AT", "CH", "PL", "SE", "DK", "NO", "FI", "PT", "IE",
    "JP", "KR", "HK", "TW", "SG", "IN", "AU", "NZ", "BR", "MX", "RU", "UA", "TR", "ZA",
)  # fmt: skip
_SEPARATOR = r"[ .()/\u00a0\u2010-\u2013-]"
_CANDIDATE = re.compile(
    rf"(?<!\d:)(?<![A-Za-z0-9_+.,/=#$€£¥-])(?:\+{_SEPARATOR}?)?\(?\d(?:{_SEPARATOR}{{0,3}}\d){{6,15}}"
    r"(?!(?!x\d)[A-Za-z0-9_%]|[.,:/-]\d)"  # an extension may follow: x12
)
_CUE = re.compile(
    r"(?:(?<![A-Za-zÀ-ÿ])(?:(?:tele|cell ?|mobile ?)?phone|téléphone|telefon[eo]?|telefoon|teléfono|tel|mobile|mobil"
    r"|móvil|handy|portable|cellulare|celular|komórka|cell|call|fax|whatsapp)(?:\W{0,2}(?:number|nummer|numer|no|nr))?"
    r"|(?:电话|電話|手机|手機|联系方式|致电|座机|传真|拨打|微信)(?:号码|號碼|号)?)"
    r"\W{0,3}(?:(?:is|me|us|at|on|是|为)\W{0,3}){0,2}$",
    re.IGNORECASE,
)
_DATE = re.compile(r"\d{4}[-./]\d{1,2}[-./]\d{1,2}|\d{1,2}[-./]\d{1,2}[-./]\d{4}")
_CHINESE_MOBILE = re.compile(r"1[3-9]\d[ -]?\d{4}[ -]?\d{4}")
_AMERICAN = re.compile(r"(?:1[ .-])?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}")
_TRUNK = re.compile(rf"\(?0\d{{1,4}}\)?(?:{_SEPARATOR}{{1,2}}\d{{2,8}}){{1,5}}")
_WITHIN = 30


def phones(text: str) -> Iterator[Hit]:
    """The telephone numbers in a text."""
    for match in _CANDIDATE.finditer(text):
        said = match[0]
        if said.count("(") != said.count(")"):
            said = said.replace("(", " ").replace(")", " ")
        if _DATE.search(said):
            continue
        if number := _number(said, text[max(0, match.start() - _WITHIN) : match.start()]):
            yield Hit("phone", *match.span(), match[0], number)


def _number(said: str, before: str) -> str:
    """In E.164; empty where it is none."""
    if said.startswith("+"):
        return _valid(said, (None,))
    if said.startswith("00") and re.search(r"\D", said):
        return _valid(f"+{said[2:]}", (None,)) if said[2:3] not in "0(" else ""
    if _CHINESE_MOBILE.fullmatch(said):
        return _valid(said, ("CN",))
    if _AMERICAN.fullmatch(said):
        return _valid(said, ("US",))
    if _CUE.search(before):
        return _valid(said, REGIONS)
    return _valid(said, REGIONS) if _TRUNK.fullmatch(said) else ""


def _valid(said: str, regions: tuple[str | None, ...]) -> str:
    import phonenumbers

    for region in regions:
        try:
            number = phonenumbers.parse(said, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))
    return ""
