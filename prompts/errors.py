"""How templates fail on purpose. The message of each says where, what value was seen and what to do.

PromptError
├── TemplateInvalid     the file breaks the format
├── TemplateUnknown     no template of that name
└── InputsInvalid       variables are missing or unknown
"""


class PromptError(Exception):
    """Base of all errors of this package, shown to the user as one sentence."""


class TemplateInvalid(PromptError):
    """A template file breaks the format: in `file`, which it is known by, at `line` (0 of all of it), by `problem`."""

    def __init__(self, message: str, *, file: str = "", line: int = 0, problem: str = "") -> None:
        super().__init__(message)
        self.file = file
        self.line = line
        self.problem = problem or message


class TemplateUnknown(PromptError):
    """There is no template of that name."""


class InputsInvalid(PromptError):
    """The values given do not fit the template's inputs."""
