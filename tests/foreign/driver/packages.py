"""Installation of the pinned packages, once for each state of the lock file or the requirements."""
from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
from collections import defaultdict
from pathlib import Path

from .manifest import Manifest

INSTALL_LIMIT = 300  # seconds for one server's packages

NO_WAY_TO_THE_REGISTRY = (
    "ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH",
    "NewConnectionError", "NameResolutionError", "ConnectTimeoutError", "ProxyError", "Failed to establish",
)


class Unavailable(Exception):
    """The packages can't be had on this machine; the server is skipped."""


class Packages:
    def __init__(self, sources: Path, cache: Path) -> None:
        self.sources = sources
        self.cache = cache
        self.runs = cache / "runs"
        self.locks: dict[str, threading.Lock] = defaultdict(threading.Lock)

    def install(self, manifest: Manifest) -> Path:
        """Returns a copy of the server's directory from where its packages are found."""
        name = manifest.packages or manifest.directory.name
        home = self.cache / "packages" / name
        with self.locks[name]:
            home.mkdir(parents=True, exist_ok=True)
            {"npm": install_npm, "pypi": install_pypi}[manifest.kind](self.sources / name, home)
            for directory in (manifest.directory, self.sources / "shared"):
                if directory.is_dir():
                    shutil.copytree(directory, home / directory.name, dirs_exist_ok=True)
        return home / manifest.directory.name


def install_npm(source: Path, home: Path) -> None:
    if not (shutil.which("node") and shutil.which("npm")):
        raise Unavailable("node and npm are not installed")
    files = [source / "package.json", source / "package-lock.json"]
    stamp = Stamp(home, files)
    if stamp.is_fresh():
        return
    for file in files:
        shutil.copy(file, home)
    run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], home)
    stamp.write()


def install_pypi(source: Path, home: Path) -> None:
    requirements = source / "requirements.txt"
    stamp = Stamp(home, [requirements])
    if stamp.is_fresh():
        return
    shutil.rmtree(home / "venv", ignore_errors=True)
    try:
        run([sys.executable, "-m", "venv", str(home / "venv")], home)
    except RuntimeError as error:
        raise Unavailable(f"python3 can't make a virtual environment: {error}") from error
    # The requirements name everything, so there is nothing to resolve; only modules in use are worth compiling.
    pip = [str(home / "venv" / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-compile"]
    run([*pip, "--retries", "2", "--requirement", str(requirements)], home)
    stamp.write()


class Stamp:
    """A file that says for which manifests the installation was made."""

    def __init__(self, home: Path, files: list[Path]) -> None:
        self.file = home / ".installed"
        digest = hashlib.sha256()
        for file in files:
            digest.update(file.read_bytes())
        digest.update(sys.version.encode())
        self.text = digest.hexdigest()

    def is_fresh(self) -> bool:
        return self.file.is_file() and self.file.read_text() == self.text

    def write(self) -> None:
        self.file.write_text(self.text)


def run(command: list[str], directory: Path) -> None:
    try:
        done = subprocess.run(
            command, cwd=directory, env={**os.environ, "CI": "1"}, timeout=INSTALL_LIMIT, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{command[0]} took more than {INSTALL_LIMIT} s to install the packages") from None
    if done.returncode == 0:
        return
    lines = done.stdout.strip().splitlines()
    for line in lines:
        if any(word in line for word in NO_WAY_TO_THE_REGISTRY):
            raise Unavailable(f"the registry can't be reached: {line.strip()}")
    raise RuntimeError(f"{Path(command[0]).name}: {' / '.join(lines[-3:])}")
