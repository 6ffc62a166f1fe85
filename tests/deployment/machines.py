"""Redis, the replicas and HAProxy, as processes on loopback."""
from __future__ import annotations

import csv
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Callable, Optional

from driver import processes

START_LIMIT = 30  # seconds until a process serves
DRAIN = 20  # seconds that a replica which is told to stop gives to calls under way

HAPROXY = """
global
    maxconn 200
    stats socket {directory}/haproxy.sock
defaults
    mode http
    timeout connect 2s
    timeout client 120s
    timeout server 120s
    option http-server-close
    option redispatch 1
    retries 3
frontend public
    bind 127.0.0.1:{port}
    option forwardfor
    {token}
    default_backend replicas
backend replicas
    balance roundrobin
    option httpchk GET /readyz
    default-server check inter 100ms fall 1 rise 1
    server first 127.0.0.1:{first}
    server second 127.0.0.1:{second}
"""


class Deployment:
    """All of it. Two replicas, known under one URL."""

    def __init__(self, server: Path, directory: Path) -> None:
        self.server = server
        self.directory = directory
        self.port, self.first_port, self.second_port = free_ports(3)
        self.url = f"http://localhost:{self.port}/mcp"
        self.replicas: dict[str, subprocess.Popen] = {}
        self.redis: Optional[subprocess.Popen] = None
        self.proxy: Optional[subprocess.Popen] = None

    def start(self) -> None:
        command = ["redis-server", "--port", "0", "--unixsocket", "redis.sock", "--save", ""]
        self.redis = self.spawn("redis", command)
        wait_for("Redis", lambda: (self.directory / "redis.sock").exists())
        self.start_replica("first")
        self.start_replica("second")
        self.start_proxy()

    def start_replica(self, name: str) -> None:
        port = self.first_port if name == "first" else self.second_port
        command = [
            str(self.server), "--dpop-nonces", "--bind", f"127.0.0.1:{port}", "--public-url", f"http://localhost:{self.port}",
            "--trusted-proxy", "127.0.0.1", "--drain", str(DRAIN),
        ]
        redis = f"redis+unix://{self.directory}/redis.sock"
        self.replicas[name] = self.spawn(name, command, {"EXAMPLE_REDIS_URL": redis})
        wait_for(f"the replica {name}", lambda: is_open(port))

    def start_proxy(self, token: str = "") -> None:
        """With a token, requests get it on their way: the suite of others knows no sign-in."""
        if self.proxy is not None:
            processes.end(self.proxy)
        header = f'http-request set-header Authorization "Bearer {token}"' if token else ""
        text = HAPROXY.format(
            directory=self.directory, port=self.port, token=header, first=self.first_port, second=self.second_port
        )
        configuration = self.directory / "haproxy.cfg"
        configuration.write_text(text)
        configuration.chmod(0o600)
        self.proxy = self.spawn("haproxy", ["haproxy", "-f", str(configuration)])
        wait_for("HAProxy", lambda: is_open(self.port))
        self.wait_until_up("first", "second")

    def wait_until_up(self, *names: str) -> None:
        wait_for(f"{names} up", lambda: all(self.status(name) == "UP" for name in names))

    def kill(self, name: str) -> None:
        replica = self.replicas.pop(name)
        replica.kill()
        replica.wait()

    def tell_to_stop(self, name: str) -> subprocess.Popen:
        replica = self.replicas.pop(name)
        replica.send_signal(signal.SIGTERM)
        return replica

    def requests(self) -> dict[str, int]:
        """Requests that each replica got from HAProxy."""
        return {row["svname"]: int(row["stot"]) for row in self.statistics()}

    def status(self, name: str) -> str:
        return next(row["status"].split()[0] for row in self.statistics() if row["svname"] == name)

    def statistics(self) -> list[dict[str, str]]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.directory / "haproxy.sock"))
            connection.sendall(b"show stat\n")
            answer = connection.makefile().read()
        rows = csv.DictReader(answer.lstrip("# ").splitlines())
        return [row for row in rows if row["svname"] in ("first", "second")]

    def spawn(self, name: str, command: list[str], environment: Optional[dict[str, str]] = None) -> subprocess.Popen:
        path = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        with (self.directory / f"{name}.log").open("ab") as log:
            return processes.start(
                command, cwd=self.directory, env={**path, **(environment or {})},
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )


def is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


def wait_for(what: str, condition: Callable[[], bool]) -> None:
    until = time.monotonic() + START_LIMIT
    while not condition():
        if time.monotonic() > until:
            raise RuntimeError(f"not after {START_LIMIT} s: {what}")
        time.sleep(0.02)


def free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
