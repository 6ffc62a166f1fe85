"""Table of hosts and situations, and its comparison with the expected one."""
from __future__ import annotations

from .hosts import Host
from .run import Cell
from .situations import Situation

SKIPPED = "skipped"
NOT_APPLICABLE = "-"


def print_table(hosts: list[Host], situations: list[Situation], table: dict[str, dict[str, Cell]]) -> None:
    widths = {s.name: max([len(s.title), *(len(table[host.name][s.name].outcome) for host in hosts)]) for s in situations}
    print("\n" + " | ".join(["host".ljust(13), *(f"{s.title:{widths[s.name]}}" for s in situations)]))
    for host in hosts:
        cells = [f"{table[host.name][s.name].outcome:{widths[s.name]}}" for s in situations]
        print(" | ".join([host.name.ljust(13), *cells]))


def worse_than_expected(
    situations: list[Situation], table: dict[str, dict[str, Cell]], expected: dict[str, dict[str, str]]
) -> list[str]:
    """A cell without an expectation has to be the best."""
    lines = []
    for host, row in table.items():
        for situation in situations:
            cell, ranks = row[situation.name], situation.ranks
            wanted = expected.get(host, {}).get(situation.name, ranks[0])
            if cell.outcome not in (SKIPPED, NOT_APPLICABLE) and rank(ranks, cell.outcome) > rank(ranks, wanted):
                lines.append(f"{host}, {situation.title}: {cell.outcome} instead of {wanted} ({cell.note})")
    return lines


def rank(ranks: list[str], outcome: str) -> int:
    return ranks.index(outcome) if outcome in ranks else len(ranks)
