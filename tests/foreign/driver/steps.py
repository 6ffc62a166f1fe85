"""The steps that each server goes through."""
from __future__ import annotations

import http.client
import json
import shutil
import threading
import time
import traceback
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

from .bridge import Bridge, Failed, Installation
from .forged import refuse_forged
from .manifest import Manifest
from .report import FAIL, OK, SKIPPED, Outcome
from .server import Programs, Server

STEPS = ["sign-in", "restart", "logout", "redeploy", "refresh", "processes"]
CORE = ["sign-in", "restart", "refresh"]

LONG = 3600  # seconds that a token lives where its end is not what is tried
PROCESSES = 3  # bridges on one store
ROUNDS = 3  # lives of a token that these processes see, where tokens are short
LONGEST_ROUNDS = 30  # seconds; where tokens are longer, the processes see one end
PAUSE = 0.3  # seconds between two calls of such a process
CALLS = 3  # calls until one has to work after the server forgot everything
DIRECT_LIMIT = 10  # seconds for a request of the driver itself


class Stage:
    """One life of a server, with one user's bridge."""

    def __init__(self, manifest: Manifest, bridge: Path, server: Server, work: Path) -> None:
        self.manifest = manifest
        self.server = server
        arguments = [word.replace("BASE_URL", server.base).replace("SERVER_DIR", str(server.home)) for word in manifest.bridge]
        self.header = ["--header", manifest.header] if manifest.header else []
        self.user = Installation(bridge, server.url, [*arguments, *self.header], manifest.bridge_env, work)

    def visit(self, name: str) -> None:
        """An app that starts, lists the tools, calls one and ends."""
        with Bridge(self.user, name) as bridge:
            bridge.open_session()
            tools = bridge.list_tools()
            if self.manifest.tool["name"] not in tools:
                raise Failed(f"tools/list has {tools}")
            bridge.call(self.manifest.tool)

    def expect_sign_ins(self, expected: int) -> None:
        opened, finished = self.user.browser.opened(), self.user.browser.finished()
        if (opened, finished) != (expected, expected):
            raise Failed(f"{opened} pages opened and {finished} sign-ins, expected {expected}; {self.user.browser.trouble()}")


def run_steps(manifest: Manifest, steps: list[str], programs: Programs, home: Path, work: Path) -> dict[str, Outcome]:
    shutil.rmtree(work, ignore_errors=True)
    long_lived = {"sign-in": sign_in, "restart": restart, "logout": logout, "redeploy": redeploy}
    short_lived = {"refresh": refresh, "processes": processes}
    outcomes: dict[str, Outcome] = {}
    for name, ttl, tries in (("long", LONG, long_lived), ("short", manifest.ttl, short_lived)):
        wanted = [step for step in tries if step in steps]
        for step in wanted:
            if step in manifest.skip:
                outcomes[step] = Outcome(SKIPPED, manifest.skip[step])
        left = [step for step in wanted if step not in manifest.skip]
        if left:
            outcomes.update(run_life(manifest, {step: tries[step] for step in left}, ttl, programs, home, work / name))
    return {step: outcomes[step] for step in steps}


def run_life(
    manifest: Manifest, tries: dict[str, Callable[[Stage], None]], ttl: int, programs: Programs, home: Path, work: Path
) -> dict[str, Outcome]:
    """Starts the server once, and tries the steps in their order."""
    work.mkdir(parents=True)
    outcomes: dict[str, Outcome] = {}
    try:
        with Server(manifest, home, work, ttl, programs) as server:
            for step, attempt in tries.items():
                # The steps of a long life follow one another in one store; each of a short one begins anew.
                stage = Stage(manifest, programs.bridge, server, work / ("user" if ttl == LONG else step))
                outcomes[step] = judge(attempt, stage)
                if step == "sign-in" and outcomes[step].kind == FAIL:
                    raise Failed("not tried without a sign-in")
    except Exception as error:  # noqa: BLE001 - what goes wrong with this server is this server's result
        for step in tries:
            outcomes.setdefault(step, Outcome(FAIL, str(error)))
    return outcomes


def judge(attempt: Callable[[Stage], None], stage: Stage) -> Outcome:
    try:
        attempt(stage)
        return Outcome(OK)
    except Failed as failure:
        trouble = stage.user.browser.trouble()
        reason = str(failure) if not trouble or trouble in str(failure) else f"{failure}; browser: {trouble}"
        return Outcome(FAIL, f"{reason} (logs: {stage.user.work})")
    except Exception:  # noqa: BLE001
        return Outcome(FAIL, traceback.format_exc(limit=-2).replace("\n", " / "))


def sign_in(stage: Stage) -> None:
    stage.visit("sign-in")
    stage.expect_sign_ins(stage.manifest.sign_ins)
    if stage.server.resource_server and stage.manifest.resource_server:
        log = stage.user.work / "another-resource-server.log"
        refuse_forged(stage.user.access_token(), stage.server.url, stage.server.resource_server, log, post_to)


def restart(stage: Stage) -> None:
    before = signed_in(stage)
    stage.visit("restart")
    stage.expect_sign_ins(before)


def signed_in(stage: Stage) -> int:
    """Sees to it that the store holds tokens, and returns how often the browser was opened so far."""
    if stage.user.credentials() is None:
        stage.visit("sign-in-first")
    return stage.user.browser.opened()


def refresh(stage: Stage) -> None:
    """The access token runs out; the next call works all the same, and nobody sees a page."""
    with Bridge(stage.user, "refresh") as bridge:
        bridge.open_session()
        bridge.call(stage.manifest.tool)
        first = stage.user.access_token()
        time.sleep(stage.server.ttl + 1)
        may_try_old_token = stage.manifest.sign_ins and not stage.manifest.used_up_token_ends_grant
        if may_try_old_token:
            refuse_old_token(stage, first)
        bridge.call(stage.manifest.tool)
    stage.expect_sign_ins(stage.manifest.sign_ins)
    if stage.user.access_token() == first:
        raise Failed("the access token is still the first one")


def refuse_old_token(stage: Stage, token: str) -> None:
    status = post_to_server(stage, token)
    if status not in (401, 403):
        raise Failed(f"the server still takes a token that has run out (status {status}): its TOKEN_TTL has no effect")


def logout(stage: Stage) -> None:
    before = signed_in(stage)
    stored = stage.user.credentials()
    assert stored is not None
    stage.user.command("logout", stage.server.url, *stage.header)
    if stage.user.credentials() is not None:
        raise Failed("the store still holds the tokens")
    if "access" in stage.manifest.revokes and post_to_server(stage, stored["tokens"]["access_token"]) not in (401, 403):
        raise Failed("the server still takes the access token")
    if "refresh" in stage.manifest.revokes and refresh_directly(stage, stored) < 400:
        raise Failed("the authorization server still takes the refresh token")
    stage.visit("after-logout")
    stage.expect_sign_ins(before + stage.manifest.sign_ins)


def redeploy(stage: Stage) -> None:
    """The server forgets clients and tokens: once while a bridge runs, once while none does."""
    signed_in(stage)
    with Bridge(stage.user, "redeploy-running") as bridge:
        bridge.open_session()
        bridge.call(stage.manifest.tool)
        before = stage.user.browser.finished()
        stage.server.redeploy_without_memory()
        call_until_it_works(stage, bridge)
        expect_one_more(stage, before)
    before = stage.user.browser.finished()
    stage.server.redeploy_without_memory()
    with Bridge(stage.user, "redeploy-start") as bridge:
        bridge.open_session()
        call_until_it_works(stage, bridge)
        expect_one_more(stage, before)


def call_until_it_works(stage: Stage, bridge: Bridge) -> None:
    failures: list[str] = []
    for _ in range(CALLS):
        try:
            bridge.call(stage.manifest.tool)
            return
        except Failed as failure:
            failures.append(str(failure))
    raise Failed(f"after a redeployment, {CALLS} calls fail: {failures[-1]}")


def expect_one_more(stage: Stage, before: int) -> None:
    """One sign-in, or none where the server still knows its own tokens."""
    more = stage.user.browser.finished() - before
    if more > 1:
        raise Failed(f"{more} sign-ins after a redeployment")


def processes(stage: Stage) -> None:
    """Several bridges on one store, while tokens run out again and again."""
    failures: list[str] = []

    def work(number: int) -> None:
        try:
            with Bridge(stage.user, f"process-{number}") as bridge:
                bridge.open_session()
                bridge.call(stage.manifest.tool)
                until = time.monotonic() + max(stage.server.ttl + 1, min(ROUNDS * stage.server.ttl, LONGEST_ROUNDS))
                while time.monotonic() < until and not failures:
                    bridge.call(stage.manifest.tool)
                    time.sleep(PAUSE)
        except Failed as failure:
            failures.append(f"process {number}: {failure}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(PROCESSES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise Failed(failures[0])
    time.sleep(stage.server.ttl + 1)
    stage.visit("after-the-processes")
    stage.expect_sign_ins(stage.manifest.sign_ins)


def post_to_server(stage: Stage, token: str) -> int:
    """The status that the server answers to a request with this token."""
    return post_to(stage.server.url, token, gateway_header(stage))


def post_to(url: str, token: str, further: Optional[dict[str, str]] = None) -> int:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"})
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        **(further or {}),
    }
    return send(url, body, headers, method=None)


def gateway_header(stage: Stage) -> dict[str, str]:
    name, _, value = stage.manifest.header.partition(": ")
    return {name: value} if name else {}


def refresh_directly(stage: Stage, stored: dict) -> int:
    """The status that the token endpoint answers to the refresh token."""
    client = stored["client"]
    fields = {
        "grant_type": "refresh_token",
        "refresh_token": stored["tokens"].get("refresh_token") or "",
        "client_id": client["client_id"],
    }
    if client.get("client_secret"):
        fields["client_secret"] = client["client_secret"]
    headers = {"Content-Type": "application/x-www-form-urlencoded", **gateway_header(stage)}
    return send(stored["metadata"]["token_endpoint"], urllib.parse.urlencode(fields), headers, method="POST")


def send(url: str, body: str, headers: dict[str, str], method: Optional[str]) -> int:
    """POST, and where that is not allowed (the stream of an HTTP+SSE server) GET."""
    parts = urllib.parse.urlsplit(url)
    for verb in [method] if method else ["POST", "GET"]:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=DIRECT_LIMIT)
        connection.request(verb, parts.path, body if verb == "POST" else None, headers)
        status = connection.getresponse().status
        connection.close()
        if status not in (404, 405):
            break
    return status
