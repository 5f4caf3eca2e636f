"""`finetune adapters`: list adapters with their lineage."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from sqlite_utils import Database

    from assistant.store.training.adapters import StoredAdapter


@click.command()
@click.option("-m", "--model", default="", help="List adapters of this model only.")
@click.option("--history", is_flag=True, help="List promotions and rollbacks instead, the newest first.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(model: str, history: bool, as_json: bool) -> None:
    """List adapters: model, dataset, run, date, main measure before and after, and which is in use."""
    from assistant.cli.opened_log import opened_log
    from assistant.cli.output import print_table
    from assistant.store.training import adapters

    with opened_log() as db:
        known = adapters.every(db, model or None)
        swaps = [
            asdict(one) for name in dict.fromkeys(one.model for one in known) for one in adapters.history(db, name)
        ]
        listed = [_row(db, one) for one in known]
    if as_json:
        click.echo(json.dumps({"adapters": listed, "history": swaps}, ensure_ascii=False))
    elif history:
        rows = [[_date(one["done_ms"]), one["model"], one["action"], one["adapter_hash"][:12] or "base",
                 f"anyway: {one['reasons']}" if one["anyway"] else ""] for one in swaps]  # fmt: skip
        print_table(rows, ["when", "model", "what", "adapter", ""])
    elif not listed:
        click.echo("There is no adapter yet. `finetune train` makes one.")
    else:
        rows = [[one["name"], "in use" if one["in_use"] else "", one["model"], one["dataset"], _date(one["created_ms"]),
                 _measured(one["proof"]), one["hash"][:12]] for one in listed]  # fmt: skip
        print_table(rows, ["adapter", "", "model", "dataset", "made", "proof", "hash"])


def _row(db: "Database", one: "StoredAdapter") -> dict[str, Any]:
    from assistant.store.training import adapters, runs

    used = adapters.in_use(db, one.model)
    return {
        "name": one.name,
        "hash": one.hash,
        "model": one.model,
        "in_use": used is not None and used.hash == one.hash,
        "dataset": one.lineage.get("dataset", {}).get("name", ""),
        "proof": runs.proof(db, one.run_id, one.hash),
        "created_ms": one.created_ms,
        "lineage": one.lineage,
    }


def _measured(proof: dict[str, Any] | None) -> str:
    if proof is None:
        return "not evaluated"
    return f"{proof['name']} {proof['base']:.3g} to {proof['adapted']:.3g}, {proof['verdict']}"


def _date(ms: int) -> str:
    from datetime import datetime

    return datetime.fromtimestamp(ms / 1000).strftime("%Y-%m-%d %H:%M")
