"""A template: one text file that a person can read and edit.

    ---
    kind: chat
    description: Translates what you write
    language: en
    inputs:
      target: {description: Language to translate into, default: French}
    sampling: {temperature: 0.2}
    examples:
      - {input: Good morning, output: Bonjour}
    ---
    # system
    You translate into {{ target }}.
    # user
    Translate: {{ input }}

YAML front matter, then sections in sandboxed Jinja2. Its name is the file's, its identity the hash of its text.
"""

import difflib
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from prompts.errors import TemplateInvalid
from prompts.message import ROLES
from prompts.sandbox import INPUT, BadSyntax, variables

KINDS = ("chat", "text", "label", "extract", "score")
KEYS = ("name", "kind", "description", "language", "inputs", "sampling", "examples", "labels", "schema", "reasoning")
NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


@dataclass(frozen=True)
class Input:
    """One variable. Without a default it must be given."""

    name: str
    description: str
    default: str | None = None


@dataclass(frozen=True)
class Example:
    """One worked exchange, said before the person's own turns."""

    input: str
    output: str


@dataclass(frozen=True)
class Template:
    """One template. `sections` maps a role to its Jinja2 source; `text` is the whole file."""

    name: str
    kind: str
    description: str
    language: str
    inputs: tuple[Input, ...]
    sampling: Mapping[str, Any]
    examples: tuple[Example, ...]
    sections: Mapping[str, str]
    text: str
    path: Path | None = None
    task: Mapping[str, Any] = field(default_factory=dict)
    """`labels`, `schema` and `reasoning` as they stand, for the kinds that use them."""

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the file's text."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()


def load(path: Path) -> Template:
    """The template in a file. Raises `TemplateInvalid` naming file, line and what to do."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TemplateInvalid(f"{path}: not UTF-8 (byte {error.start}). Save the file as UTF-8.") from error
    except OSError as error:
        raise TemplateInvalid(f"{path}: can't be read: {error.strerror}.") from error
    return parse(text, name=path.stem, path=path)


def parse(text: str, *, name: str, path: Path | None = None) -> Template:
    """The template in a text. Raises `TemplateInvalid` naming place and what to do."""
    return _Parser(text, name, str(path or name)).template(path)


class _Parser:
    def __init__(self, text: str, name: str, place: str) -> None:
        self._text = text
        self._name = name
        self._place = place

    def template(self, path: Path | None) -> Template:
        if not NAME.fullmatch(self._name):
            raise self._wrong(f"the name {self._name!r} must be small letters, digits and hyphens; rename the file", 1)
        matter, body, first_line = self._parts()
        table = self._front_matter(matter)
        sections = self._sections(body, first_line)
        template = Template(
            name=self._name,
            kind=self._one_of(table, "kind", KINDS, "chat"),
            description=self._string(table, "description"),
            language=self._string(table, "language") or "en",
            inputs=self._inputs(table.get("inputs") or {}),
            sampling=self._table(table, "sampling"),
            examples=self._examples(table.get("examples") or []),
            sections={role: source for role, (source, _) in sections.items()},
            text=self._text,
            path=path,
            task={key: table[key] for key in ("labels", "schema", "reasoning") if key in table},
        )
        self._check_variables(template, sections)
        return template

    def _parts(self) -> tuple[str, str, int]:
        """(front matter, sections, number of the first line of the sections)"""
        lines = self._text.splitlines()
        if not lines or lines[0].strip() != "---":
            raise self._wrong("the file must begin with a line --- and its description; see a built-in one", 1)
        for number, line in enumerate(lines[1:], 1):
            if line.rstrip() == "---":
                return "\n".join(lines[1:number]), "\n".join(lines[number + 1 :]), number + 2
        raise self._wrong("the front matter is not closed; add a line --- after it", len(lines))

    def _front_matter(self, matter: str) -> dict[str, Any]:
        import yaml

        try:
            table = yaml.safe_load(matter)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            problem = getattr(error, "problem", None) or str(error)
            line, column = (mark.line + 2, mark.column + 1) if mark else (1, 1)
            raise self._wrong(f"the front matter is not YAML: {problem}", line, column) from error
        if table is None:
            table = {}
        if not isinstance(table, dict):
            raise self._wrong("the front matter must be lines of the form `key: value`", 2)
        for key in table:
            if key not in KEYS:
                near = difflib.get_close_matches(str(key), KEYS, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(KEYS)}"
                raise self._wrong(f"unknown key {key!r}; {hint}", self._line_of(key))
        if table.get("name", self._name) != self._name:
            raise self._wrong(f"name is {table['name']!r}, but the file is {self._name!r}", self._line_of("name"))
        return table

    def _sections(self, body: str, first_line: int) -> dict[str, tuple[str, int]]:
        """Role -> (source, number of its first line)."""
        sections: dict[str, tuple[str, int]] = {}
        role, collected, start = "", list[str](), first_line
        for number, line in enumerate([*body.split("\n"), "# end"], first_line):
            heading = re.fullmatch(r"#\s*(\w+)\s*", line)
            if heading and (heading[1] in ROLES or line == "# end"):
                if role:
                    blank = next((at for at, text in enumerate(collected) if text.strip()), len(collected))
                    sections[role] = ("\n".join(collected[blank:]).rstrip("\n"), start + blank)
                elif any(text.strip() for text in collected):
                    raise self._wrong("text before the first section; put it under # system or # user", start)
                role, collected, start = heading[1], [], number + 1
                if role in sections:
                    raise self._wrong(f"two sections # {role}; join them", number)
            else:
                collected.append(line)
        if not sections:
            raise self._wrong("no section; add # system, # user or both", first_line)
        return sections

    def _inputs(self, table: Any) -> tuple[Input, ...]:
        if not isinstance(table, dict):
            raise self._wrong("inputs must be a table of names", self._line_of("inputs"))
        inputs = []
        for name, about in table.items():
            line = self._line_of(name)
            if not isinstance(name, str) or not name.isidentifier() or name == INPUT:
                raise self._wrong(f"{name!r} can't be the name of an input", line)
            about = {"description": about} if isinstance(about, str) else about
            if not isinstance(about, dict) or not set(about) <= {"description", "default"}:
                raise self._wrong(f"input {name!r} needs a description and may have a default", line)
            default = about.get("default")
            inputs.append(Input(name, str(about.get("description", "")), None if default is None else str(default)))
        return tuple(inputs)

    def _examples(self, rows: Any) -> tuple[Example, ...]:
        line = self._line_of("examples")
        if not isinstance(rows, Sequence) or isinstance(rows, str):
            raise self._wrong("examples must be a list", line)
        for row in rows:
            if not isinstance(row, dict) or set(row) != {"input", "output"}:
                raise self._wrong(f"each example needs input and output, this one is {row!r}", line)
        return tuple(Example(str(row["input"]), str(row["output"])) for row in rows)

    def _check_variables(self, template: Template, sections: Mapping[str, tuple[str, int]]) -> None:
        declared = {one.name for one in template.inputs}
        used: set[str] = set()
        for role, (source, line) in sections.items():
            try:
                found = variables(source)
            except BadSyntax as error:
                raise self._wrong(str(error), line + error.line - 1) from error
            if role == "user" and template.kind == "chat" and INPUT not in found:
                raise self._wrong("# user must say where the person's turn goes: {{ input }}", line)
            known = declared | ({INPUT} if role == "user" else set())
            if unknown := sorted(found - known):
                raise self._wrong(f"# {role} uses {', '.join(unknown)}, which inputs does not declare", line)
            used |= found
        if unused := sorted(declared - used):
            raise self._wrong(f"no section uses the input {', '.join(unused)}; remove it", self._line_of(unused[0]))

    def _one_of(self, table: Mapping[str, Any], key: str, known: Sequence[str], default: str) -> str:
        value = table.get(key, default)
        if value not in known:
            raise self._wrong(f"{key} is {value!r}, but must be one of {', '.join(known)}", self._line_of(key))
        return str(value)

    def _string(self, table: Mapping[str, Any], key: str) -> str:
        value = table.get(key, "")
        if not isinstance(value, str):
            raise self._wrong(f"{key} is {value!r}, but must be text; put it in quotes", self._line_of(key))
        return " ".join(value.split())

    def _table(self, table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        value = table.get(key) or {}
        if not isinstance(value, dict):
            raise self._wrong(f"{key} is {value!r}, but must be a table", self._line_of(key))
        return value

    def _line_of(self, key: Any) -> int:
        """The line that begins with `key:`, for messages."""
        for number, line in enumerate(self._text.splitlines(), 1):
            if line.strip().startswith(f"{key}:"):
                return number
        return 1

    def _wrong(self, problem: str, line: int, column: int | None = None) -> TemplateInvalid:
        where = f"line {line}" + (f", column {column}" if column else "")
        return TemplateInvalid(f"{self._place}, {where}: {problem}.")
