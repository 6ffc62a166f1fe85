"""Command line of the foreign suite."""
from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Optional

from . import processes
from .manifest import Manifest, load_all
from .packages import Packages, Unavailable
from .report import FAIL, SKIPPED, Outcome, print_report
from .steps import CORE, STEPS, Programs, run_steps

HERE = Path(__file__).resolve().parent.parent
ROOT = HERE.parent.parent


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    manifests = load_all(HERE / "servers")
    if options.list:
        print("\n".join(manifest.name for manifest in manifests))
        return 0
    chosen = select(manifests, options.names)
    if options.kind:
        chosen = [manifest for manifest in chosen if manifest.kind == options.kind]
    steps = options.step or (CORE if options.core else STEPS)
    target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    bridge = Path(options.bridge).resolve() if options.bridge else build(target)
    programs = Programs(bridge, build_resource_server(target, chosen), build_example_server(target, chosen))
    packages = Packages(HERE / "servers", target / "foreign")
    started = time.monotonic()
    try:
        outcomes = run_all(chosen, steps, programs, packages, options.jobs)
    finally:
        processes.end_all()
    failed, skipped = print_report(chosen, steps, outcomes, time.monotonic() - started)
    return 1 if failed or (options.require and skipped) else 0


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/foreign/run", description=__doc__)
    parser.add_argument("names", nargs="*", help="servers to try; a name without its variant selects all variants")
    parser.add_argument("--core", action="store_true", help="only the steps " + ", ".join(CORE))
    parser.add_argument("--step", action="append", choices=STEPS, help="only this step (repeatable)")
    parser.add_argument("--kind", choices=["npm", "pypi"], help="only the servers of this registry")
    parser.add_argument("--bridge", metavar="PATH", help="the program to test, instead of what cargo builds")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="servers at a time [default: 2]")
    parser.add_argument("--require", action="store_true", help="fail if a server had to be skipped")
    parser.add_argument("--list", action="store_true", help="print the names of the servers")
    return parser.parse_args(arguments)


def select(manifests: list[Manifest], names: list[str]) -> list[Manifest]:
    known = {manifest.name for manifest in manifests} | {manifest.directory.name for manifest in manifests}
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit("no such server: " + ", ".join(unknown))
    return [m for m in manifests if not names or m.name in names or m.directory.name in names]


def build(target: Path) -> Path:
    # With an example, cargo takes the dependencies with the features that `cargo test` has built them with.
    targets = ["--bin", "mcp-bridge", "--example", "server"]
    command = ["cargo", "build", "--locked", *targets, "--manifest-path", str(ROOT / "Cargo.toml")]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return target.resolve() / "debug" / "mcp-bridge"


def build_resource_server(target: Path, chosen: list[Manifest]) -> Optional[Path]:
    """The program of examples/resource-server, which has dependencies of its own; None if they can't be had."""
    if not any(manifest.resource_server for manifest in chosen):
        return None
    manifest_path = str(ROOT / "examples" / "resource-server" / "Cargo.toml")
    command = ["cargo", "build", "--locked", "--manifest-path", manifest_path, "--target-dir", str(target)]
    done = subprocess.run(command, stdout=sys.stderr)
    return target.resolve() / "debug" / "resource-server" if done.returncode == 0 else None


def build_example_server(target: Path, chosen: list[Manifest]) -> Optional[Path]:
    if not any(manifest.example_server for manifest in chosen):
        return None
    command = ["cargo", "build", "--locked", "--example", "server", "--manifest-path", str(ROOT / "Cargo.toml")]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return target.resolve() / "debug" / "examples" / "server"


def run_all(
    chosen: list[Manifest], steps: list[str], programs: Programs, packages: Packages, jobs: int
) -> dict[str, dict[str, Outcome]]:
    outcomes: dict[str, dict[str, Outcome]] = {}
    printing = threading.Lock()

    def run_one(manifest: Manifest) -> dict[str, Outcome]:
        began = time.monotonic()
        results = try_server(manifest, steps, programs, packages)
        with printing:
            words = " ".join(f"{step}:{outcome.kind}" for step, outcome in results.items())
            print(f"{manifest.name} ({time.monotonic() - began:.0f} s) {words}", flush=True)
        return results

    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        running = {pool.submit(run_one, manifest): manifest for manifest in chosen}
        for done in as_completed(running):
            outcomes[running[done].name] = done.result()
    return outcomes


def try_server(manifest: Manifest, steps: list[str], programs: Programs, packages: Packages) -> dict[str, Outcome]:
    if manifest.resource_server and programs.resource_server is None:
        return {step: Outcome(SKIPPED, "examples/resource-server cannot be built") for step in steps}
    try:
        home = packages.install(manifest)
    except Unavailable as unavailable:
        return {step: Outcome(SKIPPED, str(unavailable)) for step in steps}
    except Exception as error:  # noqa: BLE001 - one server's trouble must not end the others
        return {step: Outcome(FAIL, f"installation: {error}") for step in steps}
    return run_steps(manifest, steps, programs, home, packages.runs / manifest.name.replace("/", "."))
