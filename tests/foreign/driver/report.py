"""Table of results, and the line that closes a run."""
from __future__ import annotations

from dataclasses import dataclass

from .manifest import Manifest

OK = "ok"
FAIL = "FAIL"
SKIPPED = "skipped"


@dataclass
class Outcome:
    kind: str
    reason: str = ""


def print_report(
    manifests: list[Manifest], steps: list[str], outcomes: dict[str, dict[str, Outcome]], seconds: float
) -> tuple[int, int]:
    """Returns how many steps failed, and how many were skipped because something is missing here."""
    width = max([len(manifest.name) for manifest in manifests] + [6])
    columns = [max(len(step), len(SKIPPED)) for step in steps]
    print("\n" + "server".ljust(width), *[step.ljust(wide) for step, wide in zip(steps, columns)], sep="  ")
    for manifest in manifests:
        cells = [outcomes[manifest.name][step].kind for step in steps]
        print(manifest.name.ljust(width), *[cell.ljust(wide) for cell, wide in zip(cells, columns)], sep="  ")
    print_reasons(manifests, steps, outcomes)
    kinds = [outcome.kind for results in outcomes.values() for outcome in results.values()]
    missing = sum(
        1 for manifest in manifests for step in steps
        if outcomes[manifest.name][step].kind == SKIPPED and step not in manifest.skip
    )
    print(f"\n{seconds:.0f} seconds")
    print(f"{kinds.count(OK)} passed, {kinds.count(FAIL)} failed, {kinds.count(SKIPPED)} skipped")
    return kinds.count(FAIL), missing


def print_reasons(manifests: list[Manifest], steps: list[str], outcomes: dict[str, dict[str, Outcome]]) -> None:
    for kind in (SKIPPED, FAIL):
        grouped: dict[tuple[str, str], list[str]] = {}
        for manifest in manifests:
            for step in steps:
                outcome = outcomes[manifest.name][step]
                if outcome.kind == kind:
                    grouped.setdefault((manifest.name, outcome.reason), []).append(step)
        if grouped:
            print()
        for (name, reason), where in grouped.items():
            print(f"{kind}: {name}, {', '.join(where)}: {reason}")
