"""Hosts of the fleet: network namespaces and directories with nothing in common but what is relayed.

Without the right to make namespaces, hosts are directories alone, and each reaches the store at a port of its own.
"""
from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import threading
from pathlib import Path
from typing import Callable, Optional, TypeVar

CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1

T = TypeVar("T")


class Host:
    def __init__(self, number: int, work: Path, namespace: Optional[int]) -> None:
        self.name = f"host-{number}"
        self.directory = work / self.name
        self.namespace = namespace
        for part in ("home", "data", "runtime", "tmp"):
            (self.directory / part).mkdir(parents=True, mode=0o700)

    def listen(self, port: int) -> socket.socket:
        """A listener on the loopback address of the host. Port 0 takes a free one."""
        def open_listener() -> socket.socket:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            listener.listen(256)
            listener.setblocking(False)
            return listener
        return inside(self.namespace, open_listener)

    def command(self, words: list[str]) -> list[str]:
        """The command line that runs `words` on this host."""
        if self.namespace is None:
            return words
        return ["nsenter", f"--net=/proc/self/fd/{self.namespace}", "--", *words]

    def descriptors(self) -> tuple[int, ...]:
        """What that command line has to inherit."""
        return () if self.namespace is None else (self.namespace,)

    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(self.directory / "home"),
            "XDG_DATA_HOME": str(self.directory / "data"),
            "XDG_RUNTIME_DIR": str(self.directory / "runtime"),
            "TMPDIR": str(self.directory / "tmp"),
            "NO_PROXY": "*",
        }


def may_make_namespaces() -> bool:
    try:
        os.close(new_namespace())
        return True
    except OSError:
        return False


def new_namespace() -> int:
    """A network namespace of its own, whose loopback interface is up, as a descriptor."""
    def make() -> int:
        check(libc().unshare(CLONE_NEWNET))
        with socket.socket() as any_socket:
            request = struct.pack("16sh", b"lo", 0)
            flags = struct.unpack("16sh", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request))[1]
            fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh", b"lo", flags | IFF_UP))
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    return in_thread(make)


def inside(namespace: Optional[int], action: Callable[[], T]) -> T:
    """Does something in a namespace. A socket stays in the one where it was made."""
    if namespace is None:
        return action()

    def enter() -> T:
        check(libc().setns(namespace, CLONE_NEWNET))
        return action()
    return in_thread(enter)


def in_thread(action: Callable[[], T]) -> T:
    """Does something in a thread that ends with it: namespaces belong to threads."""
    results: list[T] = []
    problems: list[BaseException] = []

    def run() -> None:
        try:
            results.append(action())
        except BaseException as problem:  # noqa: BLE001 - it is raised again below
            problems.append(problem)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if problems:
        raise problems[0]
    return results[0]


def libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def check(status: int) -> None:
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
