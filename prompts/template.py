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
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from prompts import labels
from prompts.errors import TemplateInvalid
from prompts.labels import Labels
from prompts.message import ROLES
from prompts.sandbox import INPUT, LABEL, BadSyntax, variables

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
    """One worked exchange, said before the person's own turns. `output` is a text, the name of a class, or JSON."""

    input: str
    output: str
    values: Mapping[str, str] = field(default_factory=dict)
    """Inputs that the example has for itself; the others are as they were given."""


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
    labels: Labels = field(default_factory=dict)
    """Of the kinds `label` and `score`; those of `score` begin with the class whose probability is the score."""
    schema: Mapping[str, Any] = field(default_factory=dict)
    """JSON Schema of what an `extract` template finds."""
    reasoning: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def several(self) -> bool:
        """Whether an input can have several labels: each is asked about by itself, as `{{ label }}`."""
        return self.kind == "label" and LABEL in variables(self.sections.get("user", ""))

    @cached_property
    def asked(self) -> Labels:
        """The classes that one question chooses from."""
        return labels.YES_NO.get(self.language, labels.YES_NO["en"]) if self.several else self.labels

    @cached_property
    def hash(self) -> str:
        """`text_hash` of the file's text."""
        return text_hash(self.text)


def text_hash(text: str) -> str:
    """SHA-256 of a template's text: its identity."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _output(value: Any) -> str:
    """What an example says, as text: of a table or list its JSON, on one line as replies under a schema are."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


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
        kind = self._one_of(table, "kind", KINDS, "chat")
        language = self._string(table, "language") or "en"
        inputs = self._inputs(table.get("inputs") or {})
        template = Template(
            name=self._name,
            kind=kind,
            description=self._string(table, "description"),
            language=language,
            inputs=inputs,
            sampling=self._table(table, "sampling"),
            examples=self._examples(table.get("examples") or [], {one.name for one in inputs}),
            sections={role: source for role, (source, _) in sections.items()},
            text=self._text,
            path=path,
            labels=self._labels(table.get("labels"), kind, language),
            schema=self._schema(table, kind),
            reasoning=self._table(table, "reasoning"),
        )
        self._check_variables(template, sections)
        self._check_examples(template)
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
            if not isinstance(name, str) or not name.isidentifier() or name in (INPUT, LABEL):
                raise self._wrong(f"{name!r} can't be the name of an input", line)
            about = {"description": about} if isinstance(about, str) else about
            if not isinstance(about, dict) or not set(about) <= {"description", "default"}:
                raise self._wrong(f"input {name!r} needs a description and may have a default", line)
            default = about.get("default")
            inputs.append(Input(name, str(about.get("description", "")), None if default is None else str(default)))
        return tuple(inputs)

    def _examples(self, rows: Any, inputs: set[str]) -> tuple[Example, ...]:
        line = self._line_of("examples")
        if not isinstance(rows, Sequence) or isinstance(rows, str):
            raise self._wrong("examples must be a list", line)
        for row in rows:
            if not isinstance(row, dict) or not {INPUT, "output"} <= set(row) <= {INPUT, "output"} | inputs:
                raise self._wrong(
                    f"each example needs input and output and may have values of inputs, this one is {row!r}", line
                )
        return tuple(
            Example(str(row[INPUT]), _output(row["output"]), {name: str(row[name]) for name in inputs & set(row)})
            for row in rows
        )

    def _labels(self, value: Any, kind: str, language: str) -> Labels:
        line = self._line_of("labels")
        if kind not in ("label", "score"):
            if value is not None:
                raise self._wrong(f"labels belong to the kinds label and score, not to {kind}", line)
            return {}
        if value is None and kind == "score":
            return labels.YES_NO.get(language, labels.YES_NO["en"])
        try:
            found = labels.parse(value)
        except ValueError as error:
            raise self._wrong(str(error), line) from error
        if kind == "score" and len(found) != 2:
            raise self._wrong("a score is the probability of one of two labels; name two", line)
        return found

    def _schema(self, table: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
        schema = self._table(table, "schema")
        if (kind == "extract") != bool(schema):
            raise self._wrong(
                "the kind extract needs a schema, a JSON Schema; others have none", self._line_of("schema")
            )
        return schema

    def _check_examples(self, template: Template) -> None:
        for example in template.examples if template.labels else ():
            for name in labels.named(example.output) if template.several else [example.output]:
                if name not in template.labels:
                    known = ", ".join(template.labels)
                    raise self._wrong(f"an example is {name!r}, which is none of {known}", self._line_of("examples"))

    def _check_variables(self, template: Template, sections: Mapping[str, tuple[str, int]]) -> None:
        declared = {one.name for one in template.inputs}
        used: set[str] = set()
        for role, (source, line) in sections.items():
            try:
                found = variables(source)
            except BadSyntax as error:
                wrong = source.split("\n")[error.line - 1]
                raise self._wrong(str(error), line + error.line - 1, wrong.find("{") + 1) from error
            if role == "user" and INPUT not in found:
                raise self._wrong("# user must say where the person's turn goes: {{ input }}", line)
            known = declared | ({INPUT} if role == "user" else set())
            known |= {LABEL} if role == "user" and template.kind == "label" else set()
            if unknown := sorted(found - known):
                at = re.search(rf"\{{[{{%][^}}]*?\b({unknown[0]})\b", source)
                start = at.start(1) if at else 0
                column = start - source.rfind("\n", 0, start)
                problem = f"# {role} uses {', '.join(unknown)}, which inputs does not declare"
                raise self._wrong(problem, line + source.count("\n", 0, start), column)
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
