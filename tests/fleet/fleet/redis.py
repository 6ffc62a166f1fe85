"""A real Redis with persistence, and the search for secrets in everything that it keeps."""
from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Iterable, Optional

START_LIMIT = 20  # seconds until it answers
END_LIMIT = 20  # seconds to end after SIGTERM
COMMAND_LIMIT = 20  # seconds for a command
PASSWORD = "correct-horse-battery"
CANARY = "canary-of-the-search-for-tokens"


class Redis:
    def __init__(self, work: Path) -> None:
        self.directory = work / "redis"
        self.directory.mkdir(parents=True)
        # The path of a socket is short, and that of the run is not.
        self.socket = str(self.directory / "redis.sock")
        self.log = work / "redis.log"
        self.process: Optional[subprocess.Popen] = None
        self.starts = 0

    @staticmethod
    def missing() -> str:
        """What is missing to start one."""
        return ", ".join(name for name in ("redis-server", "redis-cli") if shutil.which(name) is None)

    async def start(self) -> None:
        # What was acknowledged survives SIGKILL. Without compression, so that the dump can be searched.
        command = [
            "redis-server", "--port", "0", "--unixsocket", "redis.sock", "--dir", str(self.directory),
            "--appendonly", "yes", "--appendfsync", "always", "--save", "5 1", "--rdbcompression", "no",
            "--requirepass", PASSWORD,
        ]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=self.directory)
        self.starts += 1
        for _ in range(START_LIMIT * 20):
            if self.process.poll() is not None:
                raise RuntimeError(f"redis-server ended at once: {self.log}")
            try:
                if self.command("PING").strip() == b"PONG":
                    return
            except RuntimeError:
                pass
            await asyncio.sleep(0.05)
        raise RuntimeError("redis-server does not answer")

    async def stop(self, how: signal.Signals) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(how)
        for _ in range(END_LIMIT * 20):
            if process.poll() is not None:
                return
            await asyncio.sleep(0.05)
        process.kill()
        process.wait()

    def command(self, *words: str, text: Optional[str] = None) -> bytes:
        command = ["redis-cli", "--no-auth-warning", "-s", "redis.sock", *words]
        done = subprocess.run(
            command, cwd=self.directory, env={"REDISCLI_AUTH": PASSWORD}, timeout=COMMAND_LIMIT, check=False,
            input=text.encode() if text is not None else None, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            raise RuntimeError(f"redis-cli {words[0]}: {done.stdout.decode(errors='replace').strip()}")
        return done.stdout

    def contents(self) -> dict[str, bytes]:
        """All that it keeps, by place: the snapshot, the log of commands, and each key with its value."""
        self.command("SAVE")
        files = [path for path in self.directory.rglob("*") if path.is_file() and path.suffix in (".rdb", ".aof")]
        contents = {str(path.relative_to(self.directory)): path.read_bytes() for path in files}
        for key in self.command("--scan").decode().split("\n"):
            if key:
                # Whatever its type is.
                value = self.command("DUMP", key)
                contents[f"key {key}"] = key.encode() + value + self.value(key)
        return contents

    def value(self, key: str) -> bytes:
        kind = self.command("TYPE", key).decode().strip()
        read = {
            "string": ("GET", key), "hash": ("HGETALL", key), "list": ("LRANGE", key, "0", "-1"),
            "set": ("SMEMBERS", key), "zset": ("ZRANGE", key, "0", "-1", "WITHSCORES"),
            "stream": ("XRANGE", key, "-", "+"),
        }
        return self.command(*read[kind]) if kind in read else b""

    def places_with(self, secrets: Iterable[str]) -> list[str]:
        """Places that hold one of the secrets in clear. Fails if the search finds nothing that is there."""
        self.command("SET", "canary", CANARY)
        contents = self.contents()
        seen = [place for place, content in contents.items() if CANARY.encode() in content]
        kinds = {"key" if place.startswith("key ") else place[-4:] for place in seen}
        if kinds != {"key", ".rdb", ".aof"}:
            raise RuntimeError(f"the search of the dump does not work: it found the canary in {sorted(kinds)}")
        self.command("DEL", "canary")
        wanted = [secret.encode() for secret in secrets]
        return sorted(place for place, content in contents.items() if any(secret in content for secret in wanted))
