"""Addresses of mail, postal addresses, and names where somebody tells theirs."""

import re
from collections.abc import Iterator

from assistant.redaction.hit import Hit
from assistant.redaction.presence import has_any

_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9_](?:[A-Za-z0-9._%+'-]{0,62}[A-Za-z0-9_+-])?"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9_-])"
)
_NOBODY = re.compile(r"^(?:git|hg|svn)@|\.(?:png|jpe?g|gif|svg|webp|css|js|ts|html?|py|md|json)$", re.IGNORECASE)
_STREET = re.compile(
    r"(?<![A-Za-z0-9.,/-])\d{1,5}[A-Za-z]? (?:(?:N|S|E|W|North|South|East|West)\.? )?(?:[A-Z][A-Za-z'.-]+ ){1,4}"
    r"(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Terrace|Crescent|Square|Highway|Hwy"
    r"|Parkway|Pkwy|Close|Mews)\b\.?(?:,? (?:Apt|Apartment|Suite|Ste|Unit|Flat|#)\.? ?[A-Za-z0-9-]{1,6})?"
    r"(?:, [A-Z][A-Za-z .'-]{1,30}(?:, [A-Z]{2})?,? (?:\d{5}(?:-\d{4})?|[A-Z]{1,2}\d[A-Z0-9]? \d[A-Z]{2})(?!\d))?"
)
_GERMAN_STREET = re.compile(
    r"(?<![A-Za-zäöüÄÖÜß-])[A-ZÄÖÜ][A-Za-zäöüÄÖÜß-]*"
    r"(?:[Ss]traße|[Ss]trasse|[Ss]tr\.|[Ww]eg|[Aa]llee|[Pp]latz|[Gg]asse|[Rr]ing)"
    r" \d{1,4}(?:/\d{1,3})?[a-z]?"
    r"(?![A-Za-z0-9])(?:, \d{5} [A-ZÄÖÜ][a-zäöüß-]+)?"
)
_CHINESE = "\u4e00-\u9fff"
_CHINESE_STREET = re.compile(
    rf"(?:[{_CHINESE}]{{2,8}}?(?:省|自治区|特别行政区))?(?:[{_CHINESE}]{{2,7}}?(?:市|自治州|地区|盟))?"
    rf"(?:[{_CHINESE}]{{1,6}}?(?:区|县|旗|镇|乡|街道))?[{_CHINESE}]{{1,8}}?(?:路|街|大道|巷|胡同|弄|道)"
    rf"(?:\s?[0-9０-９]{{1,5}}\s?[号號弄]|[A-Za-z]座)"
    rf"(?:[{_CHINESE}]{{0,8}}[0-9A-Za-z０-９-]{{1,5}}(?:号楼|栋|幢|座|单元|层|楼|室|号)){{0,4}}"
)
_ENGLISH_END = re.compile(r"\d[A-Za-z]? [A-Z]")
_GERMAN_END = re.compile(r"(?:tra(?:ß|ss)e|tr\.|eg|llee|latz|asse|ing) \d")
_CHINESE_END = re.compile("[路街道巷同弄](?:\\s?[0-9０-９]{1,5}\\s?[号號弄]|[A-Za-z]座)")
"""What a text with a street of the kind has: looked for first, as few texts have it."""
_LIVING = re.compile("^(?:我)?(?:现在|目前)?(?:的)?(?:住在|家在|地址是|地址为|位于|寄到|送到|来自|住址是|就在|在)")
_SAYS_NAME = re.compile(
    r"\b(?:[Mm]y (?:full )?name(?: is|'s|’s)|I(?: am|'m|’m) called|[Nn]ame:|[Mm]ein Name ist|[Ii]ch heiße"
    r"|[Jj]e m'appelle|[Mm]e llamo)[ \t]+"
    r"((?:(?:Dr|Mr|Mrs|Ms|Prof)\.? )?[A-ZÀ-Þ][a-zß-ÿ'’-]+(?: (?:(?:von|van|de|der|den|la|del|bin|al) ){0,2}"
    r"[A-ZÀ-Þ](?:[a-zß-ÿ'’-]+|\.)){0,3})"
)
_SURNAMES = (
    "欧阳|司马|上官|诸葛|东方|皇甫|尉迟|公孙|慕容|令狐|[王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾"
    "肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈姚卢姜崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛"
    "郝龚邵万钱严覃武戴莫孔向汤康易乔赖文施洪季]"
)
_SAYS_CHINESE_NAME = re.compile(
    rf"(?:我叫做?|我的名字[是叫]|本人姓名[是为]?|姓名[:：]|联系人[:：]|收件人[:：]|收货人[:：])"
    rf"\s*((?:{_SURNAMES})[{_CHINESE}]{{1,2}}?)"
    r"(?=[，。,.！!？?；;、（(\s]|$|今年|来自|是|住|在|的|电话|手机)"
)
_NAME_CUES = ("name", "Name", " called", "heiße", "appelle", "llamo")
_CHINESE_NAME_CUES = ("我叫", "名字", "姓名", "联系人", "收件人", "收货人")
"""One of each must be in a text in which somebody tells their name."""


def emails(text: str) -> Iterator[Hit]:
    """Addresses of mail."""
    for match in _EMAIL.finditer(text) if "@" in text else ():
        if not _NOBODY.search(match[0]):
            yield Hit("email", *match.span(), match[0], match[0].lower())


def addresses(text: str) -> Iterator[Hit]:
    """Streets with the number of a house, and the town where it follows (in Chinese: precedes)."""
    for pattern, there in ((_STREET, _ENGLISH_END), (_GERMAN_STREET, _GERMAN_END), (_CHINESE_STREET, _CHINESE_END)):
        for match in pattern.finditer(text) if there.search(text) else ():
            start = match.start()
            if pattern is _CHINESE_STREET and (words := _LIVING.search(match[0])):
                start += words.end()
            value = text[start : match.end()]
            yield Hit("address", start, match.end(), value, " ".join(value.split()).lower())


def names(text: str) -> Iterator[Hit]:
    """What somebody says is their name."""
    for pattern, cues in ((_SAYS_NAME, _NAME_CUES), (_SAYS_CHINESE_NAME, _CHINESE_NAME_CUES)):
        for match in pattern.finditer(text) if has_any(text, cues) else ():
            yield Hit("name", match.start(1), match.end(1), match[1], match[1].lower())
