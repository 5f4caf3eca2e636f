"""Personal data in a text: where it stands, of which kind, and the text with something else in its place.

What is found by form and checksum is left to two well-kept libraries: phonenumberslite (Google's metadata of every
country's numbers; Apache-2.0, 5 MB, a release every two weeks) and python-stdnum (national ids, IBAN; LGPL-2.1, no
dependencies). Patterns of our own find addresses of mail and of networks, keys of services, and postal addresses.

Names of people stand in no such form. Presidio (alive, MIT) finds them through spaCy and a model for each language,
which come from no package index; its patterns find what is found here. scrubadub was last released in 2023 and drags in
textblob and its corpora; detect-secrets was last released in 2024 and reads files, not texts. So a name is found where
somebody tells it ("my name is …", 「我叫…」), and wherever it stands when a person gives it as a word of their own.
"""

from assistant.redaction.find import find, replaced
from assistant.redaction.hit import KINDS, Hit

__all__ = ["KINDS", "Hit", "find", "replaced"]
