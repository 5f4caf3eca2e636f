"""Numbers with a form and a checksum: payment cards, bank accounts, national ids, addresses of networks."""

import importlib
import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from assistant.redaction.hit import Hit

_BEFORE, _AFTER = r"(?<![A-Za-z0-9_.-])", r"(?![A-Za-z0-9_]|[.-]\d)"
_CARD = re.compile(
    rf"{_BEFORE}(?:\d{{14,19}}|\d{{4}}(?P<gap>[ -])\d{{4}}(?P=gap)\d{{4}}(?:(?P=gap)\d{{2,4}}){{1,2}}"
    rf"|\d{{4}}[ -]\d{{6}}[ -]\d{{4,5}}){_AFTER}"
)
"""Without a gap or with those that are printed on them: 4-4-4-4, or 4-6-5."""
_ISSUER = re.compile(
    r"4\d{15}(\d{3})?|(5[1-5]|2[2-7])\d{14}|3[47]\d{13}|3(0[0-5]|[68]\d)\d{11}|(6011|65\d\d)\d{12}|62\d{14,17}"
    r"|35\d{14}"
)
"""Visa, Mastercard, American Express, Diners, Discover, UnionPay, JCB (ISO/IEC 7812)."""
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}")
_V4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)", re.ASCII)
_V6 = re.compile(r"(?<![\w:.])[23][0-9a-f]{0,3}:[0-9a-f:]{2,35}[0-9a-f:](?![\w:])", re.ASCII | re.IGNORECASE)
_IN_V4, _IN_V6 = re.compile(r"\d\.\d"), re.compile(r"[23][0-9a-fA-F]{0,3}:")
_VERSION = re.compile(r"(?:\bv|version|release|版本)[ :：]{0,3}$", re.IGNORECASE)
CUE_CHARACTERS = 30
"""So far before a number stands what it is called."""


@dataclass(frozen=True, slots=True)
class _Id:
    """A national number. `name` is python-stdnum's module, `cue` stands before one that looks common."""

    name: str
    pattern: "re.Pattern[str]"
    cue: "re.Pattern[str] | None" = None


def _id(name: str, pattern: str, cue: str = "") -> _Id:
    return _Id(name, re.compile(f"{_BEFORE}(?:{pattern}){_AFTER}"), re.compile(cue, re.IGNORECASE) if cue else None)


_IDS = (
    _id("iso7064.mod_11_2", r"[1-9]\d{5}(?:1[89]|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx]"),
    _id("us.ssn", r"\d{3}-\d{2}-\d{4}"),
    _id("us.ssn", r"\d{9}", r"\bssn\b|social security"),
    _id("es.dni", r"\d{8}-?[A-Z]"),
    _id("es.nie", r"[XYZ]-?\d{7}-?[A-Z]"),
    _id("it.codicefiscale", r"[A-Z]{6}\d{2}[A-EHLMPR-T]\d{2}[A-Z]\d{3}[A-Z]"),
    _id("fr.nir", r"[12] ?\d{2} ?\d{2} ?\d[\dAB] ?\d{3} ?\d{3} ?\d{2}"),
    _id("be.nn", r"\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}"),
    _id("ch.ssn", r"756\.\d{4}\.\d{4}\.\d{2}"),
    _id("se.personnummer", r"(?:\d{2})?\d{6}[-+]\d{4}"),
    _id("fi.hetu", r"\d{6}[-+A]\d{3}[0-9A-Y]"),
    _id("dk.cpr", r"\d{6}-\d{4}", r"\bcpr\b"),
    _id("br.cpf", r"\d{3}\.\d{3}\.\d{3}-\d{2}"),
    _id("pl.pesel", r"\d{11}", r"\bpesel\b"),
    _id("de.idnr", r"\d{2} ?\d{3} ?\d{3} ?\d{3}", r"steuer|idnr|\btin\b|tax id"),
    _id("nl.bsn", r"\d{9}", r"\bbsn\b|burgerservice|sofi"),
    _id("gb.nhs", r"\d{3} ?\d{3} ?\d{4}", r"\bnhs\b"),
    _id("pt.nif", r"\d{9}", r"\bnif\b|contribuinte"),
    _id("in_.aadhaar", r"\d{4} ?\d{4} ?\d{4}", r"aadhaar"),
    _id("kr.rrn", r"\d{6}-\d{7}"),
)
_UNCHECKED = (
    _id("gb.nino", r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]"),
    _id("passport", r"[A-Z]{1,2}\d{7,8}|[A-Z]\d{2}[A-Z0-9]{6}", r"passport|reisepass|护照"),
)
"""Without a checksum: their form alone, or what they are called, must do."""


_SPOT = re.compile(r"[0-9A-Z](?:[ .+-]?[0-9A-Z]){7,}")
"""A stretch of digits and capitals: only there are the patterns tried, of which there are many."""
_DIGITS = re.compile(r"\d\D?\d")


def cards(text: str) -> Iterator[Hit]:
    """Card numbers of the large issuers with a right check digit (Luhn)."""
    luhn: Any = None
    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        luhn = luhn or importlib.import_module("stdnum.luhn")
        if _ISSUER.fullmatch(digits) and len(set(digits)) > 1 and luhn.is_valid(digits):
            yield Hit("card", *match.span(), match[0], digits)


def ibans(text: str) -> Iterator[Hit]:
    """International bank account numbers (ISO 13616)."""
    for match in _IBAN.finditer(text):
        iban: Any = importlib.import_module("stdnum.iban")
        for end in range(len(match[0]), 14, -1):  # words in capitals may follow it
            if iban.is_valid(match[0][:end]) and not match[0][:end].endswith(" "):
                yield Hit("iban", match.start(), match.start() + end, match[0][:end], iban.compact(match[0][:end]))
                break


def national_ids(text: str) -> Iterator[Hit]:
    """National numbers of people."""
    for spot in _SPOT.finditer(text):
        if _DIGITS.search(spot[0]):
            for kind in (*_IDS, *_UNCHECKED):
                yield from _ids_at(text, spot, kind)


def _ids_at(text: str, spot: "re.Match[str]", kind: _Id) -> Iterator[Hit]:
    for match in kind.pattern.finditer(text, spot.start(), min(len(text), spot.end() + 3)):
        before = text[max(0, match.start() - CUE_CHARACTERS) : match.start()]
        if kind.cue and not kind.cue.search(before):
            continue
        if kind in _UNCHECKED or importlib.import_module(f"stdnum.{kind.name}").is_valid(match[0]):
            yield Hit("id", *match.span(), match[0], re.sub(r"[^0-9A-Z]", "", match[0].upper()))


def ips(text: str) -> Iterator[Hit]:
    """Addresses that are reached over the internet: those of home networks and of this machine tell of nobody."""
    for pattern, there in ((_V4, _IN_V4), (_V6, _IN_V6)):
        for match in pattern.finditer(text) if there.search(text) else ():
            try:
                address = ipaddress.ip_address(match[0])
            except ValueError:
                continue
            if address.is_global and not _VERSION.search(text[max(0, match.start() - 12) : match.start()]):
                yield Hit("ip", *match.span(), match[0], address.compressed)
