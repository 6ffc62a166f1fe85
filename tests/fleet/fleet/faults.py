"""Faults at random: killed and stopped bridges, a Redis that restarts, and bad ways to it."""
from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Awaitable, Callable, Optional

from .hosts import Host
from .pod import Bridge, Pod, owner
from .redis import Redis
from .relay import Connection, Relay

PAUSE = (0.3, 1.7)  # seconds between two faults
STOPPED = (1.0, 25.0)  # seconds of a stopped process; the lease is shorter than the longest
AWAY = (0.3, 5.0)  # seconds for which Redis is away, or a host is cut off from it; a bridge waits for 10
BETWEEN = 2.0  # seconds between two such faults on one host, in which the bridges can do what has to be done
SLOW = (2.0, 6.0)  # seconds for which the way to Redis is slow
DELAYS = (0.01, 0.15)  # seconds that a piece is held back at most, while it is slow
STORING = 2.0  # seconds of an undisturbed way to Redis in which a rotation is stored


class Site:
    """A host with its relays."""

    def __init__(self, host: Host, to_provider: Relay, to_store: Optional[Relay]) -> None:
        self.host = host
        self.to_provider = to_provider
        self.to_store = to_store
        self.troubles: list[tuple[float, float]] = []  # beginning and end of each

    @property
    def way(self) -> Relay:
        """The way to the store."""
        assert self.to_store is not None
        return self.to_store

    def is_calm(self) -> bool:
        return all(time.monotonic() - end >= BETWEEN for _, end in self.troubles)

    def was_calm_since(self, moment: float) -> bool:
        """True if the way to the store was undisturbed for a while after that."""
        calm_from = moment
        for begin, end in sorted(self.troubles):
            if begin - calm_from >= STORING:
                return True
            calm_from = max(calm_from, end)
        return time.monotonic() - calm_from >= STORING


class Faults:
    def __init__(self, sites: list[Site], pods: list[Pod], redis: Optional[Redis],
                 dice: random.Random, log: Path) -> None:
        self.sites = {site.host.name: site for site in sites}
        self.pods = pods
        self.redis = redis
        self.dice = dice
        self.counts: Counter[str] = Counter()
        self.running: set[asyncio.Task[None]] = set()
        self.log = log
        self.begin = time.monotonic()
        for site in sites:
            site.to_provider.on_token_request = self.note

    def note(self, connection: Connection) -> None:
        """Notes whose token request this is, while its connection is there."""
        on_host = [bridge for bridge in self.bridges() if self.to_provider(bridge) is connection.relay]
        bridge = owner(on_host, connection.client_port)
        if bridge is not None:
            bridge.token_request = connection

    def to_provider(self, bridge: Bridge) -> Relay:
        return self.sites[bridge.pod.host.name].to_provider

    def bridges(self) -> list[Bridge]:
        """Those that run."""
        return [pod.bridge for pod in self.pods if pod.bridge is not None and pod.bridge.is_running()]

    async def run(self, seconds: float) -> None:
        """Makes faults for so long, and waits until all of them are over."""
        until = time.monotonic() + seconds
        kinds: list[tuple[Callable[[], Awaitable[None]], int]] = [(self.kill, 6), (self.stop, 3)]
        if self.redis is not None:
            kinds += [(self.restart, 2), (self.partition, 3), (self.refusal, 2), (self.reset, 5), (self.slowness, 3)]
        while time.monotonic() < until:
            fault = self.dice.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])[0]
            task = asyncio.ensure_future(fault())
            self.running.add(task)
            task.add_done_callback(self.running.discard)
            await asyncio.sleep(self.dice.uniform(*PAUSE))
        while self.running:
            await asyncio.gather(*self.running)

    async def kill(self) -> None:
        bridge = self.any_bridge()
        if bridge is not None:
            self.count("kills", bridge.log.stem)
            bridge.kill()

    async def stop(self) -> None:
        bridge = self.any_bridge()
        if bridge is None:
            return
        self.count("stops", bridge.log.stem)
        bridge.stop()
        await asyncio.sleep(self.dice.uniform(*STOPPED))
        bridge.go_on()
        self.note_down(f"end of a stop: {bridge.log.stem}")

    async def restart(self) -> None:
        """Redis ends, by itself or by SIGKILL, and comes back."""
        sites = list(self.sites.values())
        if self.redis is None or not all(site.is_calm() for site in sites):
            return
        how = self.dice.choice([signal.SIGTERM, signal.SIGKILL])
        ends = self.trouble("restarts of Redis" if how == signal.SIGTERM else "crashes of Redis", sites)
        await self.redis.stop(how)
        await asyncio.sleep(self.dice.uniform(*AWAY))
        await self.redis.start()
        ends()

    async def partition(self) -> None:
        """Nothing comes through any more, without an error."""
        site = self.calm_site()
        if site is None:
            return
        ends = self.trouble("partitions", [site])
        site.way.flows.clear()
        await asyncio.sleep(self.dice.uniform(*AWAY))
        site.way.flows.set()
        ends()

    async def refusal(self) -> None:
        """Connections break, and new ones are not made."""
        site = self.calm_site()
        if site is None:
            return
        ends = self.trouble("refusals", [site])
        site.way.refuses = True
        site.way.reset()
        await asyncio.sleep(self.dice.uniform(*AWAY))
        site.way.refuses = False
        ends()

    async def reset(self) -> None:
        """Connections break, whatever else there is."""
        site = self.dice.choice(list(self.sites.values()))
        self.count("resets", site.host.name)
        site.way.reset()

    async def slowness(self) -> None:
        site = self.calm_site()
        if site is None:
            return
        ends = self.trouble("slow ways", [site])
        site.way.delay = self.dice.uniform(*DELAYS)
        await asyncio.sleep(self.dice.uniform(*SLOW))
        site.way.delay = 0.0
        ends()

    def calm_site(self) -> Optional[Site]:
        calm = [site for site in self.sites.values() if site.is_calm()]
        return self.dice.choice(calm) if calm else None

    def any_bridge(self) -> Optional[Bridge]:
        """A bridge that runs, and in whose hands alone no refresh token is.

        A provider that rotates tokens has taken the old one out of use before the new one arrives. A process that is
        killed in this moment takes it with it, whatever it does.
        """
        free = [bridge for bridge in self.bridges() if bridge.stopped_at is None]
        self.dice.shuffle(free)
        for bridge in free:
            if not self.holds_the_only_token(bridge):
                return bridge
        return None

    def holds_the_only_token(self, bridge: Bridge) -> bool:
        request = bridge.token_request
        if request is None:
            return False
        site = self.sites[bridge.pod.host.name]
        holds = request.got_token is None or not site.was_calm_since(request.got_token)
        self.counts["bridges spared during a refresh"] += holds
        return holds

    def trouble(self, kind: str, sites: list[Site]) -> Callable[[], None]:
        """Counts a fault that disturbs the way to the store until the returned function is called."""
        where = " ".join(site.host.name for site in sites)
        self.count(kind, where)
        begin = time.monotonic()
        unfinished = (begin, float("inf"))
        for site in sites:
            site.troubles.append(unfinished)

        def end() -> None:
            self.note_down(f"end of {kind}: {where}")
            for site in sites:
                site.troubles.remove(unfinished)
                site.troubles.append((begin, time.monotonic()))
        return end

    def count(self, kind: str, where: str) -> None:
        self.counts[kind] += 1
        self.note_down(f"{kind}: {where}")

    def note_down(self, text: str) -> None:
        with self.log.open("a") as log:
            log.write(f"{time.monotonic() - self.begin:7.2f} {text}\n")
