"""`assistant prompts format`: the format of templates, told by the code that reads them (docs/template-format.md)."""

import dataclasses
import textwrap
from collections.abc import Iterable, Sequence

import click

PAGE = """\
# The format of templates

What `assistant prompts format` prints, made of the code that reads templates; [templates.md](templates.md) begins at
the beginning.

A template is one file `NAME.md` in UTF-8: YAML front matter between two lines `---`, then sections.

```yaml
%(example)s
```

## Keys of the front matter

%(keys)s

## Kinds

%(kinds)s

## A variable (`inputs`)

%(inputs)s

## An example (`examples`)

%(examples)s

## Filters (`filters`)

%(filters)s

## Sections

Each begins with a line of its own. They are Jinja2 without files, other templates and Python's insides; a variable
without a value is an error. What a person says is put in as it is and is never read as Jinja2 or as a control token.
A section renders to %(characters)s characters at most.

| section | what it says |
| --- | --- |
| `# system` | said first; may use the inputs |
| `# user` | wraps every turn of the person: must use `{{ input }}`, may use the inputs and, of the kind `label`, \
`{{ label }}`: one class, asked about alone. Without this section the turn is said as it is |
| `# assistant` | not used |

## Sampling (`sampling`)

What is left out is as the settings say; `assistant run` and `prompts test` take temperature 0.

%(sampling)s
"""

LIMIT = ("{tokens: N}", "the last one: cut after so many tokens of the model")


@click.command("format")
def format_() -> None:
    """Tell the format of template files, as Markdown."""
    click.echo(reference(), nl=False)


def reference() -> str:
    """A page of Markdown."""
    from assistant.cli.field_docs import meanings
    from assistant.engine.generate.sampling import Sampling
    from prompts import filters, sandbox, template

    keys, settings = meanings(template.Template), meanings(Sampling)
    of_examples = meanings(template.Example)
    of_examples["the name of an input"] = of_examples.pop("values")
    defaults = {one.name: f"`{one.default!r}`" for one in dataclasses.fields(Sampling)}
    return PAGE % {
        "example": textwrap.dedent((template.__doc__ or "").split("\n\n")[1]),
        "keys": _table("key", ([key, keys[key]] for key in template.KEYS)),
        "kinds": _table("kind", template.KINDS.items()),
        "inputs": _table("key", meanings(template.Input).items()),
        "examples": _table("key", of_examples.items()),
        "filters": _table(
            "filter",
            [*((name, one.__doc__ or f"Unicode's {name.upper()}") for name, one in filters.FILTERS.items()), LIMIT],
        ),
        "characters": f"{sandbox.MAX_CHARACTERS:,}",
        "sampling": _table("key", ([key, defaults[key], settings[key]] for key in defaults), "otherwise"),
    }


def _table(first: str, rows: Iterable[Sequence[str]], *between: str) -> str:
    """Of names, which stand as code where they are one word, and what they mean."""
    headings = [first, *between, "what it says"]
    named = ([name if name.startswith("the ") else f"`{name}`", *rest] for name, *rest in rows)
    lines = [headings, ["---"] * len(headings), *named]
    escaped = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)
