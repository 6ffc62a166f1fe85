"""One bridge after the other, each with an app on its stdin and stdout that calls a tool all the time."""
from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any, Optional

from .hosts import Host
from .relay import Connection

CALL_LIMIT = 60  # seconds for one answer, not counting those in which the bridge was stopped
END_LIMIT = 20  # seconds to end after stdin was closed
LONGEST_LINE = 1 << 20  # bytes
PROTOCOL = "2025-06-18"
SIGNED_IN = "signed in as someone"


class Tally:
    """Figures of a run, and what went wrong in it."""

    def __init__(self) -> None:
        self.latencies: list[float] = []  # seconds, of calls that were answered
        self.cut_off = 0  # calls of bridges that were killed
        self.problems: list[str] = []
        self.begin = time.monotonic()

    def problem(self, text: str) -> None:
        self.problems.append(text)
        print(f"  problem after {time.monotonic() - self.begin:.1f} s: {text}", flush=True)


class Pod:
    def __init__(self, number: int, host: Host, command: list[str], environment: dict[str, str],
                 tally: Tally, dice: random.Random, pause: float, logs: Path) -> None:
        self.number = number
        self.host = host
        self.command = command
        self.environment = environment
        self.tally = tally
        self.dice = dice
        self.pause = pause  # seconds between two calls, on average
        self.logs = logs
        self.bridge: Optional[Bridge] = None
        self.starts = 0

    async def live(self, over: asyncio.Event) -> None:
        """Calls until the run is over, with a new bridge each time that one was killed."""
        while not over.is_set():
            self.starts += 1
            log = self.logs / f"bridge-{self.number:02}-{self.starts:02}.log"
            bridge = self.bridge = Bridge(self, log)
            try:
                await bridge.start()
                await self.call_until(over, bridge)
                await bridge.leave()
            except Killed:
                pass
            except Lost as lost:
                self.tally.problem(f"{log.name}: {lost}")
                await bridge.leave()
            self.bridge = None

    async def call_until(self, over: asyncio.Event, bridge: Bridge) -> None:
        client = {"name": "fleet", "version": "1.0.0"}
        await bridge.request("initialize", {"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": client})
        bridge.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        while not over.is_set():
            started = time.monotonic() - bridge.stopped_for
            result = await bridge.request("tools/call", {"name": "whoami", "arguments": {}})
            words = " ".join(part.get("text", "") for part in result.get("content", []))
            if result.get("isError") or SIGNED_IN not in words:
                self.tally.problem(f"{bridge.log.name}: a call brought {words[:300]!r}")
            else:
                self.tally.latencies.append(time.monotonic() - bridge.stopped_for - started)
            await wait_for(over, self.dice.uniform(0, 2 * self.pause))


class Killed(Exception):
    """The run has killed this bridge."""


class Lost(Exception):
    """A request has no result, or the bridge has ended by itself."""


class Bridge:
    def __init__(self, pod: Pod, log: Path) -> None:
        self.pod = pod
        self.log = log
        self.process: Optional[asyncio.subprocess.Process] = None
        self.reader: Optional[asyncio.Task[None]] = None
        self.answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.asked = 0
        self.was_killed = False
        self.end: Exception = Lost("the bridge ended")
        self.token_request: Optional[Connection] = None  # the latest
        self.stopped_for = 0.0  # seconds
        self.stopped_at: Optional[float] = None

    async def start(self) -> None:
        with self.log.open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.pod.host.command(self.pod.command), env=self.pod.environment, limit=LONGEST_LINE,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
                pass_fds=self.pod.host.descriptors(), start_new_session=True)
        self.reader = asyncio.ensure_future(self.read())

    async def request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self.asked += 1
        number = self.asked
        answer = self.answers[number] = asyncio.get_running_loop().create_future()
        self.send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        assert self.reader is not None
        since, stopped_before = time.monotonic(), self.stopped_for
        while not answer.done():
            await asyncio.wait([answer, self.reader], timeout=1, return_when=asyncio.FIRST_COMPLETED)
            if self.reader.done() and not answer.done():
                raise self.end
            stopped = self.stopped_for - stopped_before
            if self.stopped_at is None and time.monotonic() - since - stopped > CALL_LIMIT:
                raise Lost(f"{method} has no answer after {CALL_LIMIT} s")
        del self.answers[number]
        message = answer.result()
        if "error" in message:
            raise Lost(f"{method} failed: {json.dumps(message['error'])[:600]}")
        return message["result"]

    def send(self, message: dict[str, Any]) -> None:
        assert self.process is not None and self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")

    async def read(self) -> None:
        assert self.process is not None and self.process.stdout is not None
        async for line in self.process.stdout:
            message = json.loads(line)
            if "method" in message and "id" in message:
                self.send({"jsonrpc": "2.0", "id": message["id"], "result": {}})
                continue
            waiting = self.answers.get(message.get("id"))
            if waiting is not None and not waiting.done():
                waiting.set_result(message)
        status = await self.process.wait()
        self.end = Killed() if self.was_killed else Lost(f"the bridge ended by itself, with status {status}")
        self.pod.tally.cut_off += self.was_killed and bool(self.answers)

    def is_running(self) -> bool:
        return self.process is not None and self.process.returncode is None and not self.was_killed

    def kill(self) -> None:
        self.was_killed = True
        self.signal(signal.SIGKILL)

    def stop(self) -> None:
        self.stopped_at = time.monotonic()
        self.signal(signal.SIGSTOP)

    def go_on(self) -> None:
        if self.stopped_at is not None:
            self.stopped_for += time.monotonic() - self.stopped_at
            self.stopped_at = None
            self.signal(signal.SIGCONT)

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(number)

    async def leave(self) -> None:
        """The app ends: it closes stdin, and the bridge follows."""
        if self.process is None:
            return
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            await asyncio.wait_for(self.process.wait(), END_LIMIT)
        except asyncio.TimeoutError:
            self.pod.tally.problem(f"{self.log.name}: the bridge did not end {END_LIMIT} s after its app")
            self.kill()
        if self.reader is not None:
            await asyncio.wait([self.reader])


def owner(bridges: list[Bridge], port: int) -> Optional[Bridge]:
    """That of the bridges, all of one host, whose connection has this local port."""
    for bridge in bridges:
        assert bridge.process is not None
        try:
            rows = [row.split() for row in Path(f"/proc/{bridge.process.pid}/net/tcp").read_text().splitlines()[1:]]
        except OSError:
            continue  # it has just ended
        inodes = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{port:04X}")}
        return next((it for it in bridges if inodes & links_of(it)), None)
    return None


def links_of(bridge: Bridge) -> set[str]:
    """What the descriptors of a bridge stand for."""
    assert bridge.process is not None
    try:
        return {os.readlink(entry.path) for entry in os.scandir(f"/proc/{bridge.process.pid}/fd")}
    except OSError:
        return set()


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    """Sleeps, but no longer than until the event."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except asyncio.TimeoutError:
        pass
