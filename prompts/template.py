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

YAML front matter, then sections in sandboxed Jinja2. The template's name is the file's, its identity its text's hash.
"""

import difflib
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from prompts import filters, labels, reasoning
from prompts.errors import TemplateInvalid
from prompts.filters import Filters
from prompts.labels import Labels
from prompts.message import ROLES
from prompts.reasoning import Reasoning
from prompts.sandbox import INPUT, LABEL, BadSyntax, variables

KINDS = {
    "chat": "a conversation; chosen in the chat with `/name`",
    "text": "writes a text for each input",
    "label": "chooses one of the classes `labels`, or several if `# user` asks about `{{ label }}`",
    "extract": "extracts JSON that follows `schema`; objects with a `text` get its position",
    "score": "gives the probability of the first of two classes; without `labels` these are yes and no",
}
KEYS = (
    "name",
    "kind",
    "description",
    "language",
    "inputs",
    "sampling",
    "examples",
    "labels",
    "schema",
    "reasoning",
    "filters",
    "data",
    "lineage",
)
RESERVED = (INPUT, LABEL, "output", "reasoning")
"""Keys of labelled rows, examples and predictions that can't be names of inputs."""
NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
HEADING = re.compile(rf"#\s*({'|'.join(ROLES)})\s*")
"""A line that opens a section."""


@dataclass(frozen=True)
class Input:
    """A variable. Without a default a value must be given."""

    name: str
    """Name in sections: `{{ name }}`. Letters, digits and underscores."""
    description: str
    """Text that asks a person for it."""
    default: str | None = None
    """Value if none is given."""


@dataclass(frozen=True)
class Example:
    """A worked exchange, placed before the person's turns. `output` is a text, the name of a class, or JSON."""

    input: str
    """The user's message."""
    output: str
    """The reply: a text, the name of a class (several with commas between them), or for `extract` JSON or YAML."""
    values: Mapping[str, str] = field(default_factory=dict)
    """The example's own values of inputs; other inputs have the given values."""
    reasoning: str = ""
    """Text before the output, such as `Shoes are worn on feet. Answer:`."""


@dataclass(frozen=True)
class Template:
    """A template. `sections`: role -> Jinja2 source; `text`: the whole file."""

    name: str
    """Name of the file without `.md`: small letters, digits and hyphens. Optional."""
    kind: str
    """What the template makes of an input; see the kinds."""
    description: str
    """One line, shown in lists of templates."""
    language: str
    """`en`, `zh` …; selects the words for yes and no, the metrics of texts and the attacks on inputs."""
    inputs: tuple[Input, ...]
    """Variables of the sections in addition to `{{ input }}`: a table of name -> description, or name -> table of
    `description` and `default`."""
    sampling: Mapping[str, Any]
    """Sampling settings; see sampling."""
    examples: tuple[Example, ...]
    """List of worked exchanges, placed before the person's turn and wrapped by `# user`."""
    sections: Mapping[str, str]
    text: str
    path: Path | None = None
    labels: Labels = field(default_factory=dict)
    """For the kinds `label` and `score`: a list of classes, or a table of class -> word or words. The first class of
    `score` is the one whose probability is the score."""
    schema: Mapping[str, Any] = field(default_factory=dict)
    """JSON Schema of the result of an `extract` template."""
    reasoning: Reasoning | None = None
    """`true`, or a table of `votes`, the number of answers to vote on, and `answer`, a regular expression whose first
    group is the answer. Answers then follow reasoning, for the kinds `label` and `score` too."""
    filters: Mapping[str, Filters] = field(default_factory=dict)
    """A table of input -> filters applied to it before rendering, in order; `input` is the user's message. See the
    filters."""
    data: Path | None = None
    """Name of the labelled set beside the file, if it isn't NAME.jsonl."""
    lineage: Mapping[str, Any] = field(default_factory=dict)
    """Written by `assistant prompts optimize`: origin and scores; has no effect."""

    @cached_property
    def several(self) -> bool:
        """Whether an input can have several labels, each asked about separately as `{{ label }}`."""
        return self.kind == "label" and LABEL in variables(self.sections.get("user", ""))

    @cached_property
    def asked(self) -> Labels:
        """The classes that one question chooses from."""
        return labels.YES_NO.get(self.language, labels.YES_NO["en"]) if self.several else self.labels

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the file's text."""
        return text_hash(self.text)


def text_hash(text: str) -> str:
    """SHA-256 of a template's text: its identity."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def output_text(value: Any) -> str:
    """An example's output as text; tables and lists as JSON on one line, as replies under a schema."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def example(row: Mapping[str, Any], column: str, truth: str, inputs: Iterable[str]) -> Example:
    """The example in a row: input from `column`, output from `truth`, and values of `inputs`."""
    own = {name: str(row[name]) for name in inputs if row.get(name) not in (None, "")}
    return Example(str(row[column]), output_text(row[truth]), own, str(row.get("reasoning") or ""))


def line_of(text: str, key: object) -> int:
    """Number of the line that begins with `key:`, for messages; 1 if there is none."""
    lines = enumerate(text.splitlines(), 1)
    return next((number for number, line in lines if line.strip().startswith(f"{key}:")), 1)


def load(path: Path) -> Template:
    """Read a template file. Raises `TemplateInvalid` with file, line and advice."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TemplateInvalid(f"{path}: not UTF-8 (byte {error.start}). Save the file as UTF-8.") from error
    except OSError as error:
        raise TemplateInvalid(f"{path}: can't be read: {error.strerror}.") from error
    return parse(text, name=path.stem, path=path)


def parse(text: str, *, name: str, path: Path | None = None) -> Template:
    """Parse a template. Raises `TemplateInvalid` with line and advice."""
    return _Parser(text, name, str(path or name)).template(path)


def front_matter(template: Template) -> dict[str, Any]:
    """The front matter as a table."""
    return _Parser(template.text, template.name, template.name).front_matter()


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
            reasoning=self._reasoning(table, kind),
            filters=self._filters(table, {INPUT, *(one.name for one in inputs)}, kind),
            data=self._data(table, path),
            lineage=self._table(table, "lineage"),
        )
        self._check_variables(template, sections)
        self._check_examples(template)
        return template

    def front_matter(self) -> dict[str, Any]:
        """The front matter, checked for unknown keys only."""
        return self._front_matter(self._parts()[0])

    def _parts(self) -> tuple[str, str, int]:
        """(front matter, sections, number of the sections' first line)."""
        lines = self._text.splitlines()
        if not lines or lines[0].strip() != "---":
            raise self._wrong("the file must begin with a line --- and its front matter; see a built-in template", 1)
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
        for number, line in enumerate([*body.split("\n"), None], first_line):  # None: the end of the file
            heading = HEADING.fullmatch(line) if line is not None else None
            if line is not None and heading is None:
                collected.append(line)
                continue
            if role:
                blank = next((at for at, text in enumerate(collected) if text.strip()), len(collected))
                sections[role] = ("\n".join(collected[blank:]).rstrip("\n"), start + blank)
            elif any(text.strip() for text in collected):
                raise self._wrong("text before the first section; put it under # system or # user", start)
            role, collected, start = heading[1] if heading else "", [], number + 1
            if role in sections:
                raise self._wrong(
                    f"two sections # {role}; join them, or write {{{{ '# {role}' }}}} for a line of the text", number
                )
        if not sections:
            raise self._wrong("no section; add # system, # user or both", first_line)
        return sections

    def _inputs(self, table: Any) -> tuple[Input, ...]:
        if not isinstance(table, dict):
            raise self._wrong("inputs must be a table of names", self._line_of("inputs"))
        inputs = []
        for name, about in table.items():
            line = self._line_of(name)
            if not isinstance(name, str) or not name.isidentifier() or name in RESERVED:
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
            if (
                not isinstance(row, dict)
                or not {INPUT, "output"} <= set(row) <= {INPUT, "output", "reasoning"} | inputs
            ):
                raise self._wrong(
                    f"each example needs input and output and may have reasoning and values of inputs, "
                    f"this one is {row!r}",
                    line,
                )
        return tuple(example(row, INPUT, "output", inputs) for row in rows)

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
            raise self._wrong("a score is the probability of one of two labels; give two", line)
        return found

    def _schema(self, table: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
        schema = self._table(table, "schema")
        if (kind == "extract") != bool(schema):
            raise self._wrong(
                "the kind extract needs a schema, a JSON Schema; others have none", self._line_of("schema")
            )
        return schema

    def _reasoning(self, table: Mapping[str, Any], kind: str) -> Reasoning | None:
        value, line = table.get("reasoning"), self._line_of("reasoning")
        if value in (None, False):
            return None
        if kind == "extract":
            raise self._wrong("JSON is decoded under its schema, without reasoning; remove it", line)
        try:
            return reasoning.parse(value)
        except ValueError as error:
            raise self._wrong(str(error), line) from error

    def _filters(self, table: Mapping[str, Any], inputs: set[str], kind: str) -> Mapping[str, Filters]:
        line = self._line_of("filters")
        try:
            found = filters.parse(table.get("filters") or {})
        except ValueError as error:
            raise self._wrong(str(error), line) from error
        if unknown := sorted(set(found) - inputs):
            raise self._wrong(f"filters of {', '.join(unknown)}, which is no input", line)
        if kind == "chat" and any(one.tokens for one in found.values()):
            raise self._wrong("a chat drops its oldest turns when it grows too long; remove tokens", line)
        return found

    def _data(self, table: Mapping[str, Any], path: Path | None) -> Path | None:
        name = self._string(table, "data")
        if name and Path(name).name != name:
            raise self._wrong(
                f"data is {name!r}, but must be the name of a file beside this one", self._line_of("data")
            )
        beside = path.with_name(name or f"{path.stem}.jsonl") if path else None
        return beside if beside and (name or beside.is_file()) else None

    def _check_examples(self, template: Template) -> None:
        line = self._line_of("examples")
        if template.several and template.reasoning:
            raise self._wrong(
                "each label is asked about alone, without reasoning; remove it", self._line_of("reasoning")
            )
        for one in template.examples if template.labels else ():
            for name in labels.named(one.output) if template.several else [one.output]:
                if name not in template.labels:
                    known = ", ".join(template.labels)
                    raise self._wrong(f"an example is {name!r}, which is none of {known}", line)
        for one in template.examples:
            if one.reasoning and not template.reasoning:
                raise self._wrong("an example reasons, but the template doesn't; add reasoning: true", line)

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
                raise self._wrong("# user must contain the person's message: {{ input }}", line)
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

    def _one_of(self, table: Mapping[str, Any], key: str, known: Collection[str], default: str) -> str:
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
        return line_of(self._text, key)

    def _wrong(self, problem: str, line: int, column: int | None = None) -> TemplateInvalid:
        where = f"line {line}" + (f", column {column}" if column else "")
        message = f"{self._place}, {where}: {problem}."
        return TemplateInvalid(message, file=self._place, line=line, problem=problem)
