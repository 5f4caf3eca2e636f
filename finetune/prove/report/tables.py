"""The figures of a report as table rows, and as Markdown."""

from collections.abc import Mapping
from typing import Any

from finetune.prove.report.texts import ENGLISH, Texts


def markdown(report: Mapping[str, Any]) -> str:
    """The report as Markdown."""
    about, test, told = report["dataset"], report["test"], report["memorised"]
    head = ENGLISH.columns
    lines = [
        f"# {report['adapter']} against {report['model']}",
        "",
        _kept(about, test),
        "",
        f"| {' | '.join(head)} |",
        f"|{' --- |' * len(head)}",
        *(f"| {' | '.join(marked(one))} |" for one in measures(report)),
        "",
        *_by_type(report),
        *([gone, ""] if (gone := deleted(report)) else []),
        f"Leaked: {len(told['leaked'])} of {told['probes']} ({told['canaries']} canaries).",
        "",
        *([f"- {reason}" for reason in report["reasons"]] or [ENGLISH.good]),
        "",
        f"Base {report['base_hash']}, adapter {report['adapter_hash']}, dataset {about['sha256']}, "
        f"seed {report['seed']}, {report['seconds']:.0f} s, "
        + ", ".join(f"{name} {version}" for name, version in report["made_with"].items()),
    ]
    return "\n".join(lines) + "\n"


FINDS_NONE = "The base's figure is that of tagging nothing."


def types_found(report: Mapping[str, Any]) -> list[list[str]]:
    """Rows by entity type; empty for reports on other kinds."""
    per_class = report.get("entities", {}).get("per_class", {})
    return [
        [name, *(f"{one[key]:.2f}" for key in ("precision", "recall", "f1-score")), f"{one['support']:,.0f}"]
        for name, one in per_class.items()
    ]


def _by_type(report: Mapping[str, Any]) -> list[str]:
    rows = types_found(report)
    table = [f"| {' | '.join(cells)} |" for cells in (ENGLISH.entities, ["---"] * len(ENGLISH.entities), *rows)]
    return [*table, ""] if rows else []


def _kept(about: Mapping[str, Any], test: Mapping[str, Any]) -> str:
    return (
        f"Dataset {about['name']} ({about['kind']}): {test['examples']:,} examples of {test['groups']:,} "
        "conversations, near-duplicates counted once, were held out."
        + (f" {FINDS_NONE}" if about["kind"] == "entities" else "")
    )


def measures(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """All measures of a report, earlier datasets last."""
    return [*report["measures"], *(report.get("earlier") or {}).get("measures", ())]


def deleted(report: Mapping[str, Any], texts: Texts = ENGLISH) -> str:
    """A sentence on earlier datasets that were deleted; empty if none were."""
    names = (report.get("earlier") or {}).get("deleted")
    return texts.deleted.format(names=", ".join(names)) if names else ""


def name_of(measure: Mapping[str, Any], texts: Texts = ENGLISH) -> str:
    """Name of a measure in the language of the texts."""
    if measure["key"] == "earlier":
        return texts.earlier.format(name=measure["name"])
    return texts.measures.get(measure["key"], str(measure["name"]))


def marked(measure: Mapping[str, Any]) -> list[str]:
    """`row` in English, with the main measure's name in bold Markdown."""
    name, *rest = row(measure)
    return [f"**{name}**" if measure["main"] else name, *rest]


def row(measure: Mapping[str, Any], texts: Texts = ENGLISH) -> list[str]:
    """[name, base, adapter, difference with interval, examples, verdict]."""
    return [
        name_of(measure, texts),
        *figures(measure, texts),
        f"{measure['items']:,}",
        texts.verdicts[verdict(measure)],
    ]


def figures(measure: Mapping[str, Any], texts: Texts = ENGLISH) -> list[str]:
    """[base, adapter, difference with interval]: `-43 % (-46 to -40)`, in points for shares."""
    relative = measure["relative"]
    values = [f"{measure[one]:.2f}" if relative else f"{measure[one]:.1%}" for one in ("base", "adapted")]
    low, high = (f"{100 * one:+.1f}" for one in sorted((measure["low"], measure["high"])))
    unit = "%" if relative else texts.points
    difference = f"{100 * measure['difference']:+.1f} {unit} ({texts.interval.format(low=low, high=high)})"
    since = f" {texts.since.format(**measure)}" if "since" in measure else ""
    return [*values, difference + since]


def verdict(measure: Mapping[str, Any]) -> str:
    """Key in `Texts.verdicts`; general text and earlier datasets need not become better, only not worse."""
    if measure["key"] in ("forgetting", "earlier") and measure["verdict"] in ("better", "unclear"):
        return "kept"
    return str(measure["verdict"])
