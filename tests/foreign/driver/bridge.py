"""A bridge process with an app on its stdin and stdout."""
from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Optional

from . import processes
from .browser import BrowserLog

CALL_LIMIT = 60  # seconds for one answer; the bridge itself waits 45 s for a sign-in
END_LIMIT = 10  # seconds to end after stdin was closed
COMMAND_LIMIT = 60  # seconds for `mcp-bridge logout` and the like

BROWSER = Path(__file__).with_name("browser.py")
DEVICE_CODE = re.compile(r"open\n(\S+)\nand enter the code (\S+)")


class Failed(Exception):
    """A step's failure, in one line."""


class Installation:
    """The bridge with one store and one browser: what the processes of one user share."""

    def __init__(self, program: Path, url: str, arguments: list[str], environment: dict[str, str], work: Path) -> None:
        self.program = program
        self.url = url
        self.arguments = arguments
        self.store = work / "store"
        self.work = work
        self.browser = BrowserLog(work / "browser.log")
        work.mkdir(parents=True, exist_ok=True)
        launcher = work / "browser"
        launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{BROWSER}" "{self.browser.file}" "$@"\n')
        launcher.chmod(0o755)
        self.environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(work),
            "NO_PROXY": "*",
            "MCP_BRIDGE_DIR": str(self.store),
            "BROWSER": str(launcher),
            **environment,
        }

    def command(self, *words: str) -> str:
        """Runs a command of the bridge to its end, and returns what it printed."""
        done = subprocess.run(
            [str(self.program), *words], env=self.environment, timeout=COMMAND_LIMIT, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        if done.returncode != 0:
            raise Failed(f"mcp-bridge {words[0]}: status {done.returncode}: {one_line(done.stderr)}")
        return done.stdout

    def credentials(self) -> Optional[dict[str, Any]]:
        """What the store holds of the one account that is in it."""
        for file in self.store.glob("*.json"):
            stored = json.loads(file.read_text())
            if "tokens" in stored:
                return stored
        return None

    def access_token(self) -> str:
        stored = self.credentials()
        if stored is None or not stored["tokens"]:
            raise Failed("the store holds no tokens")
        return stored["tokens"]["access_token"]


class Bridge:
    def __init__(self, installation: Installation, name: str) -> None:
        self.installation = installation
        self.answers: dict[int, dict[str, Any]] = {}
        self.changed = threading.Condition()
        self.ended = False
        self.last_id = 0
        self.log = (installation.work / f"bridge-{name}.log").open("w")
        self.process = processes.start(
            [str(installation.program), *installation.arguments, installation.url],
            env=installation.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, encoding="utf-8", bufsize=1,
        )
        self.readers = [threading.Thread(target=read, daemon=True) for read in (self._read_answers, self._read_log)]
        for reader in self.readers:
            reader.start()

    def __enter__(self) -> Bridge:
        return self

    def __exit__(self, *_: object) -> None:
        """An app that ends: it closes stdin, and the bridge follows."""
        try:
            self.process.stdin.close()
            self.process.wait(END_LIMIT)
        except (OSError, subprocess.TimeoutExpired):
            pass
        processes.end(self.process)
        for reader in self.readers:
            reader.join(END_LIMIT)
        self.log.close()

    def open_session(self) -> None:
        client = {"name": "foreign-suite", "version": "1.0.0"}
        self.request("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client})
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def request(self, method: str, params: Optional[dict[str, Any]] = None) -> dict[str, Any]:
        """The result, or a failure that says what came instead."""
        self.last_id += 1
        number = self.last_id
        message: dict[str, Any] = {"jsonrpc": "2.0", "id": number, "method": method}
        if params is not None:
            message["params"] = params
        self._send(message)
        with self.changed:
            self.changed.wait_for(lambda: number in self.answers or self.ended, CALL_LIMIT)
            answer = self.answers.pop(number, None)
        if answer is None:
            raise Failed(f"{method}: " + ("the bridge ended" if self.ended else f"no answer in {CALL_LIMIT} s"))
        if "error" in answer:
            raise Failed(f"{method}: {one_line(answer['error'].get('message', ''))}")
        return answer["result"]

    def list_tools(self) -> list[str]:
        return [tool["name"] for tool in self.request("tools/list")["tools"]]

    def call(self, tool: dict[str, Any]) -> str:
        """Calls the tool, and returns its text."""
        result = self.request("tools/call", tool)
        text = " ".join(part.get("text", "") for part in result.get("content", []))
        if result.get("isError") or not text:
            raise Failed(f"tools/call {tool['name']}: {one_line(text) or 'no text'}")
        return text

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()
        except OSError:
            raise Failed("the bridge ended") from None

    def _read_answers(self) -> None:
        for line in self.process.stdout:
            message = json.loads(line)
            if "method" in message and "id" in message:
                self._send({"jsonrpc": "2.0", "id": message["id"], "result": {}})
            elif "id" in message:
                with self.changed:
                    self.answers[message["id"]] = message
                    self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def _read_log(self) -> None:
        text = ""
        for line in self.process.stderr:
            self.log.write(line)
            self.log.flush()
            text += line
            shown = DEVICE_CODE.search(text)
            if shown:
                text = ""
                launcher = self.installation.environment["BROWSER"]
                subprocess.Popen([launcher, shown.group(1), shown.group(2)], start_new_session=True)


def one_line(text: str, limit: int = 300) -> str:
    return " / ".join(text.strip().splitlines())[:limit]
