"""Errors of this package. Each message says where, which value was seen, and what to do.

PromptError
├── TemplateInvalid     the file breaks the format
├── TemplateUnknown     no template of that name
└── InputsInvalid       variables are missing or unknown
"""


class PromptError(Exception):
    """Base class of this package's errors, shown to the user as one sentence."""


class TemplateInvalid(PromptError):
    """A template file breaks the format. `line`: 0 for the whole file. `problem`: the message without its place."""

    def __init__(self, message: str, *, file: str = "", line: int = 0, problem: str = "") -> None:
        super().__init__(message)
        self.file = file
        self.line = line
        self.problem = problem or message


class TemplateUnknown(PromptError):
    """No template has that name."""


class InputsInvalid(PromptError):
    """The given values don't fit the template's inputs."""
