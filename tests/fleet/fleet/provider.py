"""Authorization server and MCP server in one: npm oidc-provider, as the foreign suite has it, with a log of its tokens."""
from __future__ import annotations

import asyncio
import json
import os
import subprocess
import urllib.request
from pathlib import Path
from typing import Any, Optional

from driver.manifest import load
from driver.packages import Packages
from driver.server import free_port

SERVERS = Path(__file__).resolve().parent.parent.parent / "foreign" / "servers"
START_LIMIT = 60  # seconds until it answers
END_LIMIT = 10  # seconds to end after SIGTERM
ASK_LIMIT = 10  # seconds for its counts
TOKEN_LIFETIME = 3  # seconds


def install(target: Path) -> Path:
    """Installs it once. Raises `Unavailable` where that cannot be done."""
    manifest = load(SERVERS / "oidc-provider" / "server.json")[0]
    return Packages(SERVERS, target / "foreign").install(manifest)


class Provider:
    def __init__(self, home: Path, work: Path) -> None:
        self.home = home
        self.log = work / "provider.log"
        self.events = work / "issued.jsonl"
        self.port = free_port()
        self.process: Optional[subprocess.Popen] = None

    async def start(self, shown_port: int) -> None:
        """Starts it, for clients that know it by another port."""
        environment = {
            **os.environ,
            "PORT": str(shown_port),
            "LISTEN_PORT": str(self.port),
            "BASE_URL": f"http://127.0.0.1:{shown_port}",
            "TOKEN_TTL": str(TOKEN_LIFETIME),
            "TOKEN_LOG": str(self.events),
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["node", "server.mjs"], cwd=self.home, env=environment, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for _ in range(START_LIMIT * 10):
            if self.process.poll() is not None:
                raise RuntimeError(f"the authorization server ended at once: {self.log}")
            try:
                self.counts()
                return
            except OSError:
                await asyncio.sleep(0.1)
        raise RuntimeError("the authorization server does not answer")

    def counts(self) -> dict[str, int]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/counts", timeout=ASK_LIMIT) as answer:
            return json.load(answer)

    def issued(self) -> list[dict[str, Any]]:
        """Answers of the token endpoint, in order."""
        if not self.events.exists():
            return []
        return [json.loads(line) for line in self.events.read_text().splitlines()]

    def secrets(self) -> set[str]:
        """All tokens that it has issued."""
        kinds = ("access_token", "refresh_token", "id_token")
        return {entry[kind] for entry in self.issued() for kind in kinds if entry.get(kind)}

    def refusals(self) -> list[str]:
        return [entry["error"] for entry in self.issued() if "error" in entry]

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(END_LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
