"""The steps, and their report."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Callable

from driver import processes
from driver.bridge import Bridge, Failed, Installation
from machines import Deployment, wait_for

ROOT = Path(__file__).resolve().parents[2]
CALLS = 8  # calls of a step: each replica gets several
STEP_LIMIT = 300  # seconds for a program of others
WHO = {"name": "get-user-data", "arguments": {}}
COUNT_DOWN = {"name": "count-down", "arguments": {"from": 15}}  # three seconds

# Scenarios that need no fixture of the suite: no tool, prompt or resource with a certain name.
SCENARIOS = [
    "server-initialize", "server-session-lifecycle", "ping", "tools-list", "resources-list",
    "server-sse-multiple-streams", "dns-rebinding-protection", "sep-2164-resource-not-found", "http-header-validation",
]


class Stage:
    """The deployment, and one person's bridge."""

    def __init__(self, deployment: Deployment, target: Path) -> None:
        self.deployment = deployment
        self.target = target
        work = deployment.directory / "person"
        self.person = Installation(target / "debug" / "mcp-bridge", deployment.url, [], {}, work)

    def expect_one_sign_in(self) -> None:
        opened = self.person.browser.opened()
        if opened != 1:
            raise Failed(f"{opened} pages were opened; {self.person.browser.trouble()}")


def session(stage: Stage) -> None:
    before = stage.deployment.requests()
    with Bridge(stage.person, "session") as bridge:
        bridge.open_session()
        for _ in range(CALLS):
            bridge.call(WHO)
    stage.expect_one_sign_in()
    after = stage.deployment.requests()
    if any(after[name] - before[name] < CALLS // 2 for name in after):
        raise Failed(f"requests are not shared out: {before}, then {after}")


def killed(stage: Stage) -> None:
    with Bridge(stage.person, "killed") as bridge:
        bridge.open_session()
        for name in ("first", "second"):
            bridge.call(WHO)
            stage.deployment.kill(name)
            for _ in range(CALLS):
                bridge.call(WHO)
            stage.deployment.start_replica(name)
            stage.deployment.wait_until_up(name)
    stage.expect_one_sign_in()


def drained(stage: Stage) -> None:
    with Bridge(stage.person, "drained") as bridge:
        bridge.open_session()
        said: list[str] = []
        # One of the two calls is at the replica that ends.
        calls = [threading.Thread(target=lambda: said.append(bridge.call(COUNT_DOWN))) for _ in range(2)]
        for call in calls:
            before = total(stage)
            call.start()
            wait_for("a call under way", lambda: total(stage) > before)
        ending = stage.deployment.tell_to_stop("first")
        for _ in range(CALLS):
            bridge.call(WHO)
        for call in calls:
            call.join()
        if said != ["Lift-off!"] * len(calls):
            raise Failed(f"the calls said {said}")
        if ending.wait(STEP_LIMIT) != 0:
            raise Failed(f"the replica ended with status {ending.returncode}")
    stage.deployment.start_replica("first")
    stage.deployment.wait_until_up("first")
    stage.expect_one_sign_in()


def total(stage: Stage) -> int:
    return sum(stage.deployment.requests().values())


def demo(stage: Stage) -> None:
    program = stage.target / "debug" / "examples" / "demo"
    run("demo", [str(program), "--yes", "--fresh", "--server", stage.deployment.url], stage)


def conformance(stage: Stage) -> None:
    installed = subprocess.run([str(ROOT / "tests/conformance/install")], stdout=subprocess.PIPE, text=True, check=False)
    if installed.returncode != 0:
        raise Skipped("the conformance suite cannot be had from npm")
    node, suite = installed.stdout.split()
    # The proxy adds the token to requests of the suite, so it must not be bound to a key.
    work = stage.deployment.directory / "bearer"
    person = Installation(stage.target / "debug" / "mcp-bridge", stage.deployment.url, ["--dpop", "off"], {}, work)
    with Bridge(person, "bearer") as bridge:
        bridge.open_session()
    stage.deployment.start_proxy(person.access_token())
    for scenario in SCENARIOS:
        command = [node, f"{suite}/dist/index.js", "server", "--url", stage.deployment.url, "--scenario", scenario]
        run(scenario, command, stage)


class Skipped(Exception):
    """Reason why a step is not tried."""


def run(name: str, command: list[str], stage: Stage) -> None:
    log = stage.deployment.directory / f"{name}.log"
    with log.open("wb") as output:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, timeout=STEP_LIMIT,
            cwd=stage.deployment.directory, check=False,
        )
    if done.returncode != 0:
        raise Failed(f"{name}: status {done.returncode}: {log.read_text(errors='replace')[-1500:]}")


STEPS: list[Callable[[Stage], None]] = [session, demo, killed, drained, conformance]


def main() -> int:
    for program, package in (("haproxy", "haproxy"), ("redis-server", "redis-server")):
        if shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin") is None:
            print(f"skipped: tests/deployment/run, because {package} is not installed", file=sys.stderr)
            print(f"0 passed, 0 failed, {len(STEPS)} skipped")
            return 0
    target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").resolve()
    build = ["cargo", "build", "--locked", "--bin", "mcp-bridge", "--example", "server", "--example", "demo"]
    subprocess.run([*build, "--manifest-path", str(ROOT / "Cargo.toml")], check=True, stdout=sys.stderr)
    directory = Path(tempfile.mkdtemp(prefix="deployment-"))
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    try:
        deployment = Deployment(target / "debug" / "examples" / "server", directory)
        deployment.start()
        stage = Stage(deployment, target)
        for step in STEPS:
            counts[judge(step, stage)] += 1
    finally:
        processes.end_all()
    if counts["failed"]:
        print(f"logs: {directory}")
    else:
        shutil.rmtree(directory)
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 1 if counts["failed"] else 0


def judge(step: Callable[[Stage], None], stage: Stage) -> str:
    try:
        step(stage)
    except Skipped as reason:
        print(f"skipped: {step.__name__}, because {reason}")
        return "skipped"
    except Failed as failure:
        print(f"FAIL {step.__name__}: {failure}")
        return "failed"
    print(f"ok   {step.__name__}", flush=True)
    return "passed"
