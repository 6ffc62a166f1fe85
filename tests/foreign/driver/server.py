"""A running server: its port, its state directory, its log."""
from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from . import processes
from .manifest import Manifest

START_LIMIT = 60  # seconds until the port answers
PORTS = range(20000, 30000)  # below the range that systems give out by themselves


@dataclass
class Programs:
    """What is tested."""

    bridge: Path
    resource_server: Optional[Path]  # None: it can't be built
    example_server: Optional[Path]  # None: no server that was chosen needs it


class Server:
    def __init__(self, manifest: Manifest, home: Path, work: Path, ttl: int, programs: Optional[Programs] = None) -> None:
        self.manifest = manifest
        self.home = home
        self.state = work / "state"
        self.log = work / "server.log"
        self.ttl = ttl
        self.resource_server = programs.resource_server if programs else None
        self.example_server = programs.example_server if programs else None
        self.port = free_port()
        self.base = f"http://{manifest.host}:{self.port}"
        self.url = self.base + manifest.path
        self.process: Optional[subprocess.Popen] = None

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self.state.mkdir(parents=True, exist_ok=True)
        environment = {
            **os.environ,
            "PORT": str(self.port),
            "BASE_URL": self.base,
            "TOKEN_TTL": str(self.ttl),
            "STATE_DIR": str(self.state),
            "PYTHONUNBUFFERED": "1",
            **({"RESOURCE_SERVER": str(self.resource_server)} if self.manifest.resource_server else {}),
            **({"EXAMPLE_SERVER": str(self.example_server)} if self.manifest.example_server else {}),
            **self.manifest.env,
        }
        with self.log.open("ab") as log:
            self.process = processes.start(
                self.command(), cwd=self.home, env=environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )
        self.wait_until_it_answers()

    def command(self) -> list[str]:
        program, *arguments = self.manifest.command
        in_environment = self.home.parent / "venv" / "bin" / program
        return [str(in_environment) if in_environment.exists() else program, *arguments]

    def wait_until_it_answers(self) -> None:
        assert self.process is not None
        until = time.monotonic() + START_LIMIT
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended at once: {last_line(self.log)}")
            try:
                socket.create_connection((self.manifest.host, self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError(f"nothing listens on port {self.port} after {START_LIMIT} s: {last_line(self.log)}")

    def stop(self) -> None:
        if self.process is not None:
            processes.end(self.process)
            self.process = None

    def redeploy_without_memory(self) -> None:
        """The same program at the same address, and nothing is left of what it had stored."""
        self.stop()
        shutil.rmtree(self.state, ignore_errors=True)
        self.start()


def free_port() -> int:
    for port in random.sample(PORTS, 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError("no free port")


def last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "(it printed nothing)"
