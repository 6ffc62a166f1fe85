"""Command line of `packaging/test`: builds all packages twice, then runs the tests and counts them."""
import argparse
import importlib
import sys
import tempfile
import traceback
from pathlib import Path

from kinds.release import ROOT

from .machine import Machine, Skip
from .server import Server

MODULES = ["command_line", "same_bytes", "archive", "readme", "signature", "debian", "rpm", "npm", "wheel", "launcher_entry", "mcpb", "installer", "homebrew", "windows", "registry",
           "sbom", "binstall", "release_scripts", "workflow"]


def main(arguments):
    options = _parser().parse_args(arguments)
    program = options.program or _newest_program()
    if not options.binaries and not program:
        print("error: no program was found; build one with cargo build, or name one with --program", file=sys.stderr)
        return 1

    with tempfile.TemporaryDirectory(prefix="packaging-") as directory:
        machine = Machine(Path(directory), ROOT / "target" / "packaging", program, options.binaries)
        machine.build()
        with Server(machine) as server:
            return _run(machine, server, options.only)


def _run(machine, server, only):
    passed, failed, skipped = 0, 0, 0
    for name in MODULES:
        module = importlib.import_module(f"tests.{name}")
        for test in (value for key, value in vars(module).items() if key.startswith("test_")):
            title = f"{name}: {test.__name__.removeprefix('test_').replace('_', ' ')}"
            if only and not any(word in title for word in only):
                continue
            try:
                test(machine, server)
            except Skip as reason:
                print(f"skipped  {title}, because {reason}", flush=True)
                skipped += 1
            except Exception as error:
                print(f"FAILED   {title}", flush=True)
                traceback.print_exc()
                for stream in ("stdout", "stderr"):
                    if shown := getattr(error, stream, None):
                        print(f"{stream}: {shown}", file=sys.stderr, flush=True)
                failed += 1
            else:
                print(f"passed   {title}", flush=True)
                passed += 1
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


def _newest_program():
    found = [path for profile in ("debug", "release") if (path := ROOT / "target" / profile / "mcp-bridge").is_file()]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def _parser():
    parser = argparse.ArgumentParser(prog="packaging/test", description="Tests the packages of a program that runs on this machine.")
    parser.add_argument("--program", type=Path, metavar="PATH",
                        help="the program to package; otherwise the newest of target/release and target/debug")
    parser.add_argument("--binaries", type=Path, metavar="DIR",
                        help="directory with TARGET/mcp-bridge for each target, instead of placeholders and one program")
    parser.add_argument("only", nargs="*", metavar="WORD", help="only tests whose title contains one of these words")
    return parser
