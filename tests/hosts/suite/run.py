"""One host in one situation."""
from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

from driver import processes
from driver.browser import BrowserLog
from driver.manifest import Manifest
from driver.server import Server

from .hosts import Host, Room, environment
from .model import Endpoint, Step, Turn, find
from .situations import FAILED, NEXT_START, NO_TOOL, OK, Seen, Situation, Stage

BROWSER = Path(__file__).resolve().parents[2] / "foreign" / "driver" / "browser.py"
SECOND_START = 60  # seconds that the model waits for the tool in a second start
END_LIMIT = 15  # seconds between the model's last word and the host's end


@dataclass
class Cell:
    outcome: str
    note: str = ""


class Person:
    """Somebody who signs in at a certain second, on the page that was opened last."""

    def __init__(self, work: Path, at: Optional[float]) -> None:
        self.log = BrowserLog(work / "browser.log")
        self.pages = work / "pages"
        self.launcher = work / "browser"
        self.launcher.write_text(f'#!/bin/sh\nprintf "%s\\n" "$1" >> "{self.pages}"\n')
        self.launcher.chmod(0o755)
        self.timer = threading.Timer(at, self._sign_in) if at is not None else None

    def __enter__(self) -> Person:
        if self.timer:
            self.timer.daemon = True
            self.timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.timer:
            self.timer.cancel()

    def addresses(self) -> list[str]:
        return self.pages.read_text().split() if self.pages.exists() else []

    def _sign_in(self) -> None:
        opened = self.addresses()
        if opened:
            browser = processes.start([sys.executable, str(BROWSER), str(self.log.file), opened[-1]], stderr=subprocess.DEVNULL)
            browser.wait(END_LIMIT)
            processes.end(browser)


class Play:
    def __init__(self, host: Host, program: Path, situation: Situation, bridge: list[str], server: tuple[Manifest, Path],
                 call_seconds: int, work: Path) -> None:
        self.host, self.program, self.situation, self.bridge, self.work = host, program, situation, bridge, work
        self.call_seconds = call_seconds
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        manifest, home = server
        env = {**manifest.env, **({"WITH_SIGN_IN": "1"} if situation.with_sign_in else {})}
        self.server = Server(replace(manifest, env=env), home, work, ttl=3600)
        self.timers: list[threading.Timer] = []
        self.ended_itself = True
        self.lasted = 0.0  # seconds that the host ran

    def run(self) -> Cell:
        try:
            with Person(self.work, self.situation.signed_in_at) as person:
                return self._run(person)
        finally:
            for timer in self.timers:
                timer.cancel()
            self.server.stop()
            end_strays(self.work)

    def _run(self, person: Person) -> Cell:
        if self.situation.server_up_at:
            self._later(self.situation.server_up_at, self.server.start)
        else:
            self.server.start()
        turn = Turn(self._steps(), self.situation.patience, self.work / "model.log")
        screen = self._start(turn, person, "screen.txt", self.situation.limit)
        model_saw = " ".join([*(tool.description for tool in turn.offered), *turn.results])
        judge = self.situation.judge_list if self.host.lists_only else self.situation.judge
        offers_sign_in = find(turn.offered, "sign_in") is not None
        outcome = judge(Seen(turn.steps, turn.first, model_saw, screen, offers_sign_in, person.addresses()))
        notes = [f"{self.lasted:.0f} s" if turn.first is None else f"first request {turn.first:.0f} s"]
        notes += [] if self.ended_itself else ["had to be ended"]
        if outcome in (NO_TOOL, FAILED) and self.situation.starts_again:
            outcome = self._start_again(person, outcome)
        if len(person.addresses()) > 1:
            notes.append(f"{len(person.addresses())} pages")
        if person.log.trouble():
            notes.append(f"browser: {person.log.trouble()}")
        if outcome == FAILED:
            last = next((step.result for step in reversed(turn.steps) if step.result is not None), None)
            notes.append((last or screen.strip()[-200:] or "nothing shown").replace("\n", " / ")[:200])
        return Cell(outcome, "; ".join(notes))

    def _steps(self) -> list[Step]:
        return self.situation.steps(Stage(self._stop_server_for, self._wait_for_server, self.call_seconds))

    def _start_again(self, person: Person, outcome: str) -> str:
        opened = len(person.addresses())
        turn = Turn(self._steps(), SECOND_START, self.work / "model-2.log")
        self._start(turn, person, "screen-2.txt", SECOND_START + END_LIMIT)
        seen = Seen(turn.steps, turn.first, "", "")
        return NEXT_START if self.situation.judge(seen) == OK and len(person.addresses()) == opened else outcome

    def _start(self, turn: Turn, person: Person, screen: str, limit: float) -> str:
        """Runs the host to its end, and returns what it printed."""
        with Endpoint(turn) as endpoint:
            room = self._room(endpoint.base, person)
            launch = self.host.prepare(room)
            with (self.work / screen).open("wb") as out:
                began = time.monotonic()
                process = processes.start(
                    [str(self.program), *launch.arguments], cwd=room.project, env=environment(room, launch),
                    stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                )
                self.ended_itself = wait_for_end(process, turn, limit)
                self.lasted = time.monotonic() - began
                processes.end(process)
        return (self.work / screen).read_text(errors="replace")

    def _room(self, model: str, person: Person) -> Room:
        home, project = self.work / "home", self.work / "project"
        (home / "tmp").mkdir(parents=True, exist_ok=True)
        project.mkdir(exist_ok=True)
        bridge = [*self.bridge, self.server.url, "--debug", "--log-file", str(self.work / "bridge.log")]
        env = {"MCP_BRIDGE_DIR": str(self.work / "store"), "BROWSER": str(person.launcher)}
        return Room(home, project, model, bridge, env)

    def _stop_server_for(self, seconds: float) -> None:
        self.server.stop()
        self._later(seconds, self.server.start)

    def _wait_for_server(self) -> None:
        for timer in self.timers:
            timer.join()

    def _later(self, seconds: float, action) -> None:
        timer = threading.Timer(seconds, action)
        timer.daemon = True
        self.timers.append(timer)
        timer.start()


def wait_for_end(process: subprocess.Popen, turn: Turn, limit: float) -> bool:
    """Whether the host ended by itself."""
    until = time.monotonic() + limit
    while process.poll() is None:
        if turn.over:
            turn.over = False
            until = min(until, time.monotonic() + END_LIMIT)
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def end_strays(work: Path) -> None:
    """Ends what has left its group: every process whose environment names the directory of this run (Linux)."""
    mark = str(work).encode()
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if int(directory.name) != os.getpid() and mark in (directory / "environ").read_bytes():
                os.kill(int(directory.name), signal.SIGKILL)
        except OSError:
            continue
