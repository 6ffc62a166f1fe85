"""The bridge inside real host applications, with a model endpoint and a server on loopback."""
from __future__ import annotations

import argparse
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from driver import processes
from driver.main import build
from driver.manifest import Manifest, load
from driver.packages import Packages, Unavailable

from .hosts import HOSTS, Host
from .packages import install
from .report import NOT_APPLICABLE, SKIPPED, print_table, worse_than_expected
from .run import Cell, Play
from .situations import SITUATIONS, Situation

HERE = Path(__file__).resolve().parent.parent
ROOT = HERE.parent.parent
EXPECTED = HERE / "expected.json"
FOREIGN = ROOT / "tests" / "foreign" / "servers"

CALL_SECONDS = 90  # of the long call
QUICK_CALL_SECONDS = 10  # with --quick: below the limit of every host
QUICK = ["1", "2", "4", "5", "5p", "6", "7"]


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    if options.list:
        print("\n".join(f"{host.name:13} {host.package}" for host in HOSTS))
        return 0
    hosts = [host for host in HOSTS if not options.hosts or host.name in options.hosts]
    names = options.situation or (QUICK if options.quick else [situation.name for situation in SITUATIONS])
    situations = [situation for situation in SITUATIONS if situation.name in names]
    target = (Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")).resolve()
    bridge = Path(os.environ["HOSTS_BRIDGE"]).resolve() if "HOSTS_BRIDGE" in os.environ else build(target)
    started = time.monotonic()
    try:
        table = play_all(hosts, situations, bridge, target, options)
    finally:
        processes.end_all()
    print_table(hosts, situations, table)
    expected = json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}
    worse = worse_than_expected(situations, table, expected)
    print("".join(f"\nworse than expected: {line}" for line in worse))
    print(f"\n{time.monotonic() - started:.0f} seconds")
    if options.write:
        write_expected(expected, table)
    cells = [cell for row in table.values() for cell in row.values() if cell.outcome != NOT_APPLICABLE]
    skipped = sum(cell.outcome == SKIPPED for cell in cells)
    print(f"{len(cells) - skipped - len(worse)} passed, {len(worse)} failed, {skipped} skipped")
    return 1 if worse else 0


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/hosts/run", description=__doc__)
    parser.add_argument("hosts", nargs="*", metavar="host", help="hosts to run [default: all]")
    parser.add_argument("--situation", action="append", choices=[situation.name for situation in SITUATIONS],
                        help="only this situation (repeatable)")
    parser.add_argument("--quick", action="store_true", help="no sign-ins, and a long call of a few seconds")
    parser.add_argument("--bridge-arg", action="append", default=[], metavar="ARG",
                        help="a further argument of the bridge, as in --bridge-arg=--list-wait=90 (repeatable)")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="hosts at a time [default: 2]")
    parser.add_argument("--write", action="store_true", help="write what was seen into expected.json")
    parser.add_argument("--list", action="store_true", help="print the hosts with their versions")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.hosts if name not in [host.name for host in HOSTS]]
    if unknown:
        parser.error("no such host: " + ", ".join(unknown))
    return options


def play_all(
    hosts: list[Host], situations: list[Situation], bridge: Path, target: Path, options: argparse.Namespace
) -> dict[str, dict[str, Cell]]:
    [manifest] = load(HERE / "probe" / "server.json")
    server = (manifest, Packages(FOREIGN, target / "foreign").install(manifest))
    command = [str(bridge), *options.bridge_arg]
    seconds = QUICK_CALL_SECONDS if options.quick else CALL_SECONDS
    printing = threading.Lock()

    def play_host(host: Host) -> dict[str, Cell]:
        program = find_program(host, target)
        if isinstance(program, Unavailable):
            return {situation.name: Cell(SKIPPED, str(program)) for situation in situations}
        row = {}
        for situation in situations:
            if host.lists_only and not situation.judge_list:
                row[situation.name] = Cell(NOT_APPLICABLE)
                continue
            work = target / "hosts" / "runs" / host.name / situation.name.replace("'", "-late")
            row[situation.name] = play(host, program, situation, command, server, seconds, work)
            with printing:
                cell = row[situation.name]
                print(f"{host.name} {situation.name} ({situation.title}): {cell.outcome} ({cell.note})", flush=True)
        return row

    with ThreadPoolExecutor(max_workers=max(1, options.jobs)) as pool:
        rows = list(pool.map(play_host, hosts))
    return {host.name: row for host, row in zip(hosts, rows)}


def play(
    host: Host, program: Path, situation: Situation, bridge: list[str], server: tuple[Manifest, Path],
    seconds: int, work: Path,
) -> Cell:
    try:
        return Play(host, program, situation, bridge, server, seconds, work).run()
    except Exception as error:  # noqa: BLE001 - one host's trouble must not end the others
        return Cell("failed", f"{type(error).__name__}: {error}")


def find_program(host: Host, target: Path) -> "Path | Unavailable":
    try:
        return install(host, target / "hosts" / "packages")
    except Unavailable as unavailable:
        return unavailable


def write_expected(expected: dict[str, dict[str, str]], table: dict[str, dict[str, Cell]]) -> None:
    for host, row in table.items():
        seen = {name: cell.outcome for name, cell in row.items() if cell.outcome not in (SKIPPED, NOT_APPLICABLE)}
        expected[host] = {**expected.get(host, {}), **seen}
    EXPECTED.write_text(json.dumps(expected, indent=2) + "\n")
