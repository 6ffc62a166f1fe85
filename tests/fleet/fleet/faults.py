"""Faults at random: killed and stopped bridges, a Redis that restarts, and bad ways to it."""
from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from typing import Awaitable, Callable, Optional

from .hosts import Host
from .pod import Bridge, Pod
from .redis import Redis
from .relay import Connection, Relay

PAUSE = (0.3, 1.7)  # seconds between two faults
STOPPED = (1.0, 25.0)  # seconds of a stopped process; the lease is shorter than the longest
AWAY = (0.3, 5.0)  # seconds for which Redis is away, or a host is cut off from it
SLOW = (2.0, 6.0)  # seconds for which the way to Redis is slow
DELAYS = (0.02, 0.4)  # seconds that a piece is held back at most, while it is slow
STORING = 2.0  # seconds of an undisturbed way to Redis in which a rotation is stored


class Site:
    """A host with its relays."""

    def __init__(self, host: Host, to_provider: Relay, to_store: Optional[Relay]) -> None:
        self.host = host
        self.to_provider = to_provider
        self.to_store = to_store
        self.troubles: list[tuple[float, float]] = []  # beginning and end of each

    def was_calm_since(self, moment: float) -> bool:
        """True if the way to the store was undisturbed for a while after that."""
        calm_from = moment
        for begin, end in sorted(self.troubles):
            if begin - calm_from >= STORING:
                return True
            calm_from = max(calm_from, end)
        return time.monotonic() - calm_from >= STORING


class Faults:
    def __init__(self, sites: list[Site], pods: list[Pod], redis: Optional[Redis], dice: random.Random) -> None:
        self.sites = {site.host.name: site for site in sites}
        self.pods = pods
        self.redis = redis
        self.dice = dice
        self.counts: Counter[str] = Counter()
        self.running: set[asyncio.Task[None]] = set()
        self.redis_is_away = False
        for site in sites:
            site.to_provider.on_token_request = self.note

    def note(self, connection: Connection) -> None:
        """Notes whose token request this is, while its connection is there."""
        for pod in self.pods:
            if pod.bridge is not None and pod.bridge.is_running() and pod.bridge.has_connection(connection):
                pod.bridge.token_request = connection

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
            self.counts["kills"] += 1
            bridge.kill()

    async def stop(self) -> None:
        bridge = self.any_bridge()
        if bridge is None:
            return
        self.counts["stops"] += 1
        bridge.stop()
        await asyncio.sleep(self.dice.uniform(*STOPPED))
        bridge.go_on()

    async def restart(self) -> None:
        """Redis ends, by itself or by SIGKILL, and comes back."""
        if self.redis is None or self.redis_is_away:
            return
        self.redis_is_away = True
        how = self.dice.choice([signal.SIGTERM, signal.SIGKILL])
        self.counts["restarts of Redis" if how == signal.SIGTERM else "crashes of Redis"] += 1
        begin = time.monotonic()
        ends = self.trouble(list(self.sites.values()), begin)
        await self.redis.stop(how)
        await asyncio.sleep(self.dice.uniform(*AWAY))
        await self.redis.start()
        ends()
        self.redis_is_away = False

    async def partition(self) -> None:
        """Nothing comes through any more, without an error."""
        site, relay = self.any_way()
        self.counts["partitions"] += 1
        ends = self.trouble([site], time.monotonic())
        relay.flows.clear()
        await asyncio.sleep(self.dice.uniform(*AWAY))
        relay.flows.set()
        ends()

    async def refusal(self) -> None:
        """Connections break, and new ones are not made."""
        site, relay = self.any_way()
        self.counts["refusals"] += 1
        ends = self.trouble([site], time.monotonic())
        relay.refuses = True
        relay.reset()
        await asyncio.sleep(self.dice.uniform(*AWAY))
        relay.refuses = False
        ends()

    async def reset(self) -> None:
        site, relay = self.any_way()
        self.counts["resets"] += 1
        self.trouble([site], time.monotonic())()
        relay.reset()

    async def slowness(self) -> None:
        site, relay = self.any_way()
        self.counts["slow ways"] += 1
        ends = self.trouble([site], time.monotonic())
        relay.delay = self.dice.uniform(*DELAYS)
        await asyncio.sleep(self.dice.uniform(*SLOW))
        relay.delay = 0.0
        ends()

    def any_way(self) -> tuple[Site, Relay]:
        site = self.dice.choice(list(self.sites.values()))
        assert site.to_store is not None
        return site, site.to_store

    def any_bridge(self) -> Optional[Bridge]:
        """A bridge that runs, and in whose hands alone no refresh token is.

        A provider that rotates tokens has taken the old one out of use before the new one arrives. A process that is
        killed in this moment takes it with it, whatever it does.
        """
        bridges = [pod.bridge for pod in self.pods if pod.bridge is not None and pod.bridge.is_running()]
        free = [bridge for bridge in bridges if bridge.stopped_at is None]
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

    def trouble(self, sites: list[Site], begin: float) -> Callable[[], None]:
        """Notes that the way to the store is disturbed, until the returned function is called."""
        unfinished = (begin, float("inf"))
        for site in sites:
            site.troubles.append(unfinished)

        def end() -> None:
            for site in sites:
                site.troubles.remove(unfinished)
                site.troubles.append((begin, time.monotonic()))
        return end
