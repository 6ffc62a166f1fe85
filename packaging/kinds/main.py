"""Command line of `packaging/build`."""
import argparse
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from . import (archives, checksums, debian, homebrew, installers, mcp_registry, mcpb, npm, rpm, sbom, scoop, wheels, winget)
from .release import CannotPackage, load

# In this order: those at the end need the checksums of files of those at the beginning.
FORMATS = {
    "archives": archives,
    "deb": debian,
    "rpm": rpm,
    "npm": npm,
    "wheels": wheels,
    "mcpb": mcpb,
    "sbom": sbom,
    "installers": installers,
    "homebrew": homebrew,
    "scoop": scoop,
    "winget": winget,
    "mcp-registry": mcp_registry,
}


@dataclass(frozen=True)
class Output:
    """The directories of the result: one for the release page, and one for each place where something is published."""

    root: Path

    @property
    def release(self):
        return self.folder("release")

    def folder(self, name):
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        return path


def main(arguments):
    options = _parser().parse_args(arguments)
    try:
        return _build(options)
    except CannotPackage as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"error: {error.cmd[0]} failed with status {error.returncode}", file=sys.stderr)
        return 1


def _build(options):
    release = load(options.binaries, options.target, options.repository, options.program)
    if options.out.exists() and any(options.out.iterdir()):
        raise CannotPackage(f"{options.out} is not empty")
    out = Output(options.out.absolute())

    chosen = {name: format for name, format in FORMATS.items() if name not in options.without}
    for name, format in chosen.items():
        for tool, package in getattr(format, "TOOLS", {}).items():
            if not shutil.which(tool):
                raise CannotPackage(f"{tool} is missing: install {package}, or leave the format out with --without {name}")
    for name, format in chosen.items():
        format.make(release, out)
    checksums.make(release, out, options.sign_key)

    for file in sorted(path for path in out.root.rglob("*") if path.is_file()):
        print(f"{file.stat().st_size:>10}  {file.relative_to(out.root)}")
    return 0


def _parser():
    parser = argparse.ArgumentParser(prog="packaging/build", description="Makes all packages of a release from finished programs.")
    parser.add_argument("--binaries", type=Path, required=True, metavar="DIR",
                        help="directory with TARGET/mcp-bridge (or mcp-bridge.exe) for each target")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="empty or new directory for the packages")
    parser.add_argument("--target", action="append", default=[], metavar="TARGET",
                        help="only this target (repeatable); otherwise all of targets.toml")
    parser.add_argument("--without", action="append", default=[], choices=FORMATS, metavar="FORMAT",
                        help=f"leave a format out (repeatable): {', '.join(FORMATS)}")
    parser.add_argument("--repository", metavar="URL", help="the repository on GitHub; otherwise that of Cargo.toml")
    parser.add_argument("--program", type=Path, metavar="PATH",
                        help="program that runs here, which prints the manual pages and completions; otherwise one of DIR")
    parser.add_argument("--sign-key", type=Path, metavar="PATH", help="SSH key that signs SHA256SUMS (ssh-keygen -Y sign)")
    return parser
