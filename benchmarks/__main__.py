"""Runs one bench: ``scripts/bench NAME [--json] [--full]``. With --json the last line is one JSON object."""

from __future__ import annotations

import importlib
import json
import sys

NAMES = ("click", "gateway", "html", "linear", "message", "overload", "record", "text", "time_machine", "verdict")


def main(arguments: list[str]) -> int:
    names = [argument for argument in arguments if not argument.startswith("--")]
    if len(names) != 1 or names[0] not in NAMES:
        print(f"usage: scripts/bench {'|'.join(NAMES)} [--json] [--full]", file=sys.stderr)
        return 2
    found = importlib.import_module(f"benchmarks.{names[0]}").run("--full" in arguments)
    if "--json" in arguments:
        print(json.dumps(found))
        return 0
    print(f"{found['name']}: ours {found['ours']} {found['unit']}")
    for peer, figure in found["peers"].items():
        print(f"  {peer}: {figure} {found['unit']}, ratio {found['ratio'][peer]}")
    return 0


sys.exit(main(sys.argv[1:]))
