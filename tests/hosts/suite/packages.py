"""Installation of the hosts from npm, each in a directory of its own."""
from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from driver.packages import NO_WAY_TO_THE_REGISTRY, Unavailable

from .hosts import Host

INSTALL_LIMIT = 600  # seconds for one host; the largest has some 300 MB


def install(host: Host, cache: Path) -> Path:
    """Returns the host's program. The directory's name has the version, so that what is there is what is wanted."""
    directory = cache / host.package.replace("/", "+")
    program = directory / "node_modules" / ".bin" / host.program
    if program.exists():
        return program
    if not (shutil.which("node") and shutil.which("npm")):
        raise Unavailable("node and npm are not installed")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "package.json").write_text('{"private": true}')
    command = ["npm", "install", "--save-exact", "--no-audit", "--no-fund", "--loglevel=error", host.package]
    try:
        done = subprocess.run(
            command, cwd=directory, env={**os.environ, "CI": "1"}, timeout=INSTALL_LIMIT, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"npm took more than {INSTALL_LIMIT} s") from None
    if done.returncode == 0 and program.exists():
        return program
    shutil.rmtree(directory, ignore_errors=True)
    lines = done.stdout.strip().splitlines()
    if any(word in line for line in lines for word in NO_WAY_TO_THE_REGISTRY):
        raise Unavailable("the registry can't be reached")
    raise Unavailable("npm: " + " / ".join(lines[-3:]))
