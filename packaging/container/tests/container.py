"""A root file system, run by bubblewrap as a container runtime would: read-only, as pid 1, as the image's user, without
capabilities. The network is the machine's own."""
from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from pathlib import Path
from typing import Any, Optional

USER = "65532"
END_LIMIT = 30  # seconds that a container may take to end


class Container:
    """What is run each time: an image with its mounts and variables."""

    def __init__(
        self, rootfs: Path, configuration: dict[str, Any], mounts: Optional[dict[str, Path]] = None,
        writable: Optional[dict[str, Path]] = None, environment: Optional[dict[str, str]] = None,
    ) -> None:
        self.rootfs = rootfs
        self.entrypoint = configuration["config"]["Entrypoint"]
        self.user = configuration["config"]["User"]
        variables = dict(pair.split("=", 1) for pair in configuration["config"].get("Env", []))
        self.environment = {**variables, **(environment or {})}
        self.mounts = mounts or {}
        self.writable = writable or {}

    def command(self, *arguments: str, entrypoint: Optional[list[str]] = None, information: Optional[int] = None) -> list[str]:
        uid, gid = self.user.split(":")
        command = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--no-new-privs", "bwrap"]
        command += ["--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--as-pid-1", "--die-with-parent"]
        command += ["--cap-drop", "ALL", "--clearenv", "--ro-bind", str(self.rootfs), "/", "--proc", "/proc", "--dev", "/dev"]
        for kind, mounts in (("--ro-bind", self.mounts), ("--bind", self.writable)):
            for inside, outside in mounts.items():
                # A runtime makes the places for mounts before it makes the root read-only.
                place = self.rootfs / inside.lstrip("/")
                if outside.is_dir():
                    place.mkdir(parents=True, exist_ok=True)
                else:
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.touch()
                command += [kind, str(outside), inside]
        for name, value in self.environment.items():
            command += ["--setenv", name, value]
        if information is not None:
            command += ["--info-fd", str(information)]
        for place in ("proc", "dev"):
            (self.rootfs / place).mkdir(exist_ok=True)
        return [*command, "--", *(entrypoint or self.entrypoint), *arguments]

    def run(self, *arguments: str, entrypoint: Optional[list[str]] = None) -> subprocess.CompletedProcess:
        return subprocess.run(
            self.command(*arguments, entrypoint=entrypoint), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=END_LIMIT, check=False,
        )

    def start(self, *arguments: str, **options: Any) -> Running:
        return Running(self, arguments, options)

    def program(self, file: Path) -> Path:
        """The container as a program, for those who start one."""
        file.write_text(f"#!/bin/sh\nexec {shlex.join(self.command())} \"$@\"\n")
        file.chmod(0o755)
        return file


class Running:
    def __init__(self, container: Container, arguments: tuple[str, ...], options: dict[str, Any]) -> None:
        reader, writer = os.pipe()
        os.set_inheritable(writer, True)
        command = container.command(*arguments, information=writer)
        self.process = subprocess.Popen(command, pass_fds=[writer], **options)
        os.close(writer)
        with os.fdopen(reader) as information:
            self.pid = json.loads(information.read())["child-pid"]

    def terminate(self) -> int:
        """What `docker stop` and Kubernetes do; returns the exit status."""
        os.kill(self.pid, signal.SIGTERM)
        return self.process.wait(END_LIMIT)

    def status(self, name: str) -> list[str]:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(line.split()[1:] for line in lines if line.startswith(f"{name}:"))

    def root_options(self) -> list[str]:
        mounts = [line.split() for line in Path(f"/proc/{self.pid}/mountinfo").read_text().splitlines()]
        return [mount[5] for mount in mounts if mount[4] == "/"][-1].split(",")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
