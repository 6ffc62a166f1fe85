"""Command line of the fleet test."""
from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Optional

from driver.browser import BrowserLog
from driver.main import build
from driver.packages import Unavailable

from . import provider as provider_module
from .faults import Faults, Site
from .hosts import Host, may_make_namespaces, new_namespace
from .pod import Pod, Tally
from .provider import Provider
from .redis import PASSWORD, Redis
from .relay import Relay, to_port, to_socket

ROOT = Path(__file__).resolve().parent.parent.parent.parent
BROWSER = ROOT / "tests" / "foreign" / "driver" / "browser.py"
SIGN_IN_LIMIT = 60  # seconds for `mcp-bridge login`
CALM = 15  # seconds without faults at the end, or the half of a short run
IN_NAMESPACE = "MCP_BRIDGE_FLEET_IN_NAMESPACE"


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    missing = Redis.missing() if options.store == "redis" else ""
    if missing:
        return skip(options, f"{missing} is not installed")
    if sys.platform != "linux":
        return skip(options, "it needs Linux")
    try:
        home = provider_module.install(target)
    except Unavailable as reason:
        return skip(options, str(reason))
    options.bridge = str(Path(options.bridge).resolve() if options.bridge else build(target))
    become_root_of_a_namespace(arguments, options.bridge)
    work = target / "fleet" / "run"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    return asyncio.run(Fleet(options, home, work.resolve()).run())


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/fleet/run", description="Many bridges, one account, and faults at random.")
    parser.add_argument("--seconds", type=float, default=60, help="length of the run [default: 60]")
    parser.add_argument("--bridges", type=int, default=15, help="bridges at a time [default: 15]")
    parser.add_argument("--hosts", type=int, default=5, help="hosts that they are spread over [default: 5]")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between two calls of a bridge, on average [default: 0.5]")
    parser.add_argument("--seed", type=int, help="seed of the faults [default: another one each time]")
    parser.add_argument("--store", choices=["redis", "file"], default="redis",
                        help="where the credentials are; with file, all bridges share a directory [default: redis]")
    parser.add_argument("--bridge", metavar="PATH", help="the program to test, instead of what cargo builds")
    parser.add_argument("--require", action="store_true", help="fail if the test has to be skipped")
    options = parser.parse_args(arguments)
    options.seed = options.seed if options.seed is not None else random.randrange(1 << 32)
    return options


def skip(options: argparse.Namespace, reason: str) -> int:
    print(f"skipped: tests/fleet, because {reason}", file=sys.stderr)
    return 1 if options.require else 0


def become_root_of_a_namespace(arguments: list[str], bridge: str) -> None:
    """Starts this program again as root of a user namespace, where that is permitted: it may make network namespaces then."""
    if os.geteuid() == 0 or os.environ.get(IN_NAMESPACE) or shutil.which("unshare") is None:
        return
    enter = ["unshare", "--user", "--map-root-user"]
    if subprocess.run([*enter, "true"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
        return
    os.environ[IN_NAMESPACE] = "1"
    os.execvp(enter[0], [*enter, sys.executable, sys.argv[0], *arguments, "--bridge", bridge])


class Fleet:
    def __init__(self, options: argparse.Namespace, home: Path, work: Path) -> None:
        self.options = options
        self.work = work
        self.dice = random.Random(options.seed)
        self.tally = Tally()
        self.provider = Provider(home, work)
        self.redis = Redis(work) if options.store == "redis" else None
        self.namespaces = shutil.which("nsenter") is not None and may_make_namespaces()
        self.sites: list[Site] = []
        self.pods: list[Pod] = []
        self.url = ""
        self.laptop = BrowserLog(work / "browser-of-the-laptop.log")
        self.pages = work / "pages-that-bridges-opened.log"

    async def run(self) -> int:
        kind = "network namespaces" if self.namespaces else "directories (no right to make network namespaces)"
        print(f"fleet: {self.options.bridges} bridges on {self.options.hosts} hosts ({kind}), "
              f"{self.options.seconds:.0f} s, seed {self.options.seed}", flush=True)
        try:
            await self.start()
            await self.sign_in()
            return await self.operate()
        finally:
            for bridge in [pod.bridge for pod in self.pods if pod.bridge is not None]:
                bridge.kill()
            for site in self.sites:
                await site.to_provider.close()
                if site.to_store is not None:
                    await site.to_store.close()
            self.provider.stop()
            if self.redis is not None and self.redis.process is not None:
                self.redis.process.kill()
                self.redis.process.wait()

    async def start(self) -> None:
        if self.redis is not None:
            await self.redis.start()
        # The laptop of the person who signs in is a host, too.
        hosts = [Host(number, self.work, new_namespace() if self.namespaces else None)
                 for number in range(self.options.hosts + 1)]
        shown = provider_module.free_port()
        for host in hosts:
            # Without namespaces, one relay to the provider serves all: its URL is the same everywhere.
            if self.namespaces or not self.sites:
                to_provider = Relay(host.listen(shown), to_port(self.provider.port), self.dice)
                await to_provider.start()
            to_store = None
            if self.redis is not None:
                to_store = Relay(host.listen(0), to_socket(self.redis.socket), self.dice)
                await to_store.start()
            self.sites.append(Site(host, to_provider, to_store))
        self.url = f"http://127.0.0.1:{shown}/mcp"
        await self.provider.start(shown)

    def environment(self, site: Site, browser: str) -> dict[str, str]:
        environment = {**site.host.environment(), "BROWSER": browser}
        if site.to_store is None:
            environment["MCP_BRIDGE_DIR"] = str(self.work / "store")
            return environment
        environment["MCP_BRIDGE_STORE"] = f"redis://:{PASSWORD}@127.0.0.1:{site.to_store.port}/0"
        environment["MCP_BRIDGE_STORE_KEY"] = self.key
        return environment

    async def sign_in(self) -> None:
        """Signs in once, on the laptop."""
        self.key = subprocess.run(
            [self.options.bridge, "store", "key"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        laptop = self.sites.pop(0)
        browser = self.program("laptop-browser", f'exec "{sys.executable}" "{BROWSER}" "{self.laptop.file}" "$@"')
        command = laptop.host.command([self.options.bridge, "login", self.url])
        log = self.work / "login.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *command, env=self.environment(laptop, browser), pass_fds=laptop.host.descriptors(),
                stdin=subprocess.DEVNULL, stdout=output, stderr=output)
            status = await asyncio.wait_for(process.wait(), SIGN_IN_LIMIT)
        if status != 0:
            raise RuntimeError(f"the sign-in failed: {log.read_text(errors='replace').strip()} ({self.laptop.trouble()})")
        # What it has of its own is gone: the fleet has the store and nothing else.
        shutil.rmtree(laptop.host.directory)

    async def operate(self) -> int:
        print(f"signed in; {self.options.bridges} bridges start", flush=True)
        logs = self.work / "logs"
        logs.mkdir()
        over = asyncio.Event()
        browser = self.program("bridge-browser", f'echo "$@" >> "{self.pages}"')
        pods = self.pods
        for number in range(self.options.bridges):
            site = self.sites[number % len(self.sites)]
            command = [self.options.bridge, self.url]
            pods.append(Pod(number, site.host, command, self.environment(site, browser), self.tally,
                            self.dice, self.options.pause, logs))
        started, cpu = time.monotonic(), os.times()
        lives = [asyncio.ensure_future(pod.live(over)) for pod in pods]
        faults = Faults(self.sites, pods, self.redis, self.dice, self.work / "faults.log")
        calm = min(CALM, self.options.seconds / 2)
        await faults.run(self.options.seconds - calm)
        await asyncio.sleep(calm)
        over.set()
        await asyncio.gather(*lives)
        return self.report(faults, pods, time.monotonic() - started, cpu)

    def report(self, faults: Faults, pods: list[Pod], seconds: float, before: Any) -> int:
        counts = self.provider.counts()
        problems = self.tally.problems + self.findings(counts)
        latencies = sorted(self.tally.latencies)
        made = ", ".join(f"{count} {kind}" for kind, count in sorted(faults.counts.items()))
        starts = sum(pod.starts for pod in pods)
        after = os.times()
        busy = sum(after[:4]) - sum(before[:4])
        print(f"""
{len(latencies)} calls answered, {len(self.tally.problems)} lost, {self.tally.cut_off} cut off by the death of their bridge
{starts} bridges, at most {len(pods)} at a time; {counts['refreshes']} refreshes, {counts['sign_ins']} sign-in, {counts['revoked_families']} families revoked
faults: {made}
a call took {percentile(latencies, 50)} (median), {percentile(latencies, 99)} (99 of 100), {percentile(latencies, 100)} (the longest)
{seconds:.0f} s, of which driver and dead bridges computed {busy:.0f} s; logs: {self.work}""")
        for problem in problems:
            print(f"problem: {problem}")
        print(f"fleet: {'FAILED' if problems else 'ok'} (seed {self.options.seed})")
        return 1 if problems else 0

    def findings(self, counts: dict[str, int]) -> list[str]:
        """What is wrong, beside lost calls."""
        found = []
        if counts["sign_ins"] != 1 or self.laptop.opened() != 1:
            found.append(f"{counts['sign_ins']} sign-ins, and one was to be")
        if self.pages.exists():
            found.append(f"bridges opened {len(self.pages.read_text().splitlines())} sign-in pages")
        if counts["revoked_families"] != 0:
            found.append(f"{counts['revoked_families']} families revoked: a refresh token was used twice")
        found += [f"the token endpoint refused: {refusal}" for refusal in sorted(set(self.provider.refusals()))]
        secrets = self.provider.secrets()
        if counts["refreshes"] < self.options.seconds / 10 or len(secrets) < counts["refreshes"]:
            found.append(f"{counts['refreshes']} refreshes and {len(secrets)} tokens: too few to prove anything")
        if not self.tally.latencies:
            found.append("no call was answered")
        if self.redis is not None:
            found += [f"a token is readable in {place}" for place in self.redis.places_with(secrets)]
        found += [f"a token is readable in {place}" for place in self.logs_with(secrets)]
        return found

    def logs_with(self, secrets: set[str]) -> list[str]:
        logs = sorted((self.work / "logs").glob("*.log"))
        return [log.name for log in logs if any(secret in log.read_text(errors="replace") for secret in secrets)]

    def program(self, name: str, line: str) -> str:
        path = self.work / name
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)
        return str(path)


def percentile(values: list[float], share: int) -> str:
    if not values:
        return "no time"
    value = values[min(len(values) - 1, len(values) * share // 100)]
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"
