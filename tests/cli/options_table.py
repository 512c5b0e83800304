"""Every option of every verb as one table; ``python tests/cli/options_table.py`` writes the kept one anew."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from regard.cli.app import app

KEPT = Path(__file__).with_name("options.json")


def _verbs(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _verbs(command, f"{before}{name} ")
        else:
            yield before + name, command


def _one(parameter: Any) -> dict[str, Any]:
    kind = parameter.type_descriptor.annotation
    default = parameter.default
    return {
        "names": [*parameter.opts, *parameter.secondary_opts],
        "type": getattr(kind, "__name__", str(kind)) if not hasattr(kind, "__args__") else str(kind),
        "default": None if default in (None, [], ()) else str(default),
        "required": parameter.required,
        "least": parameter.min,
        "most": parameter.max,
        "metavar": parameter.metavar,
        "hidden": parameter.hidden,
        "repeatable": parameter.multiple or parameter.nargs != 1,
        "help": parameter.help,
    }


def options() -> dict[str, dict[str, dict[str, Any]]]:
    """For each verb, its options by their first name, sorted; arguments stand as they are placed."""
    table = {}
    for verb, command in sorted(_verbs(typer.main.get_command(app))):
        rows = [_one(p) for p in command.params]
        places = [r for r in rows if not r["names"][0].startswith("-")]
        for place, row in enumerate(places):
            row["names"] = [f"argument {place + 1}"]
        table[verb] = {sorted(r["names"])[0]: {**r, "names": sorted(r["names"])} for r in rows}
        table[verb] = dict(sorted(table[verb].items()))
    return table


if __name__ == "__main__":
    verbs = []
    for verb, rows in options().items():
        lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
        verbs.append(f" {json.dumps(verb)}: {{\n{lines}\n }}")
    KEPT.write_text("{\n" + ",\n".join(verbs) + "\n}\n")
