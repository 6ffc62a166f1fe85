"""Child processes in groups of their own, so that none outlives the driver."""
from __future__ import annotations

import os
import signal
import subprocess
import threading
from typing import Any

END_LIMIT = 10  # seconds between SIGTERM and SIGKILL

_running: set[subprocess.Popen] = set()
_lock = threading.Lock()


def start(command: list[str], **options: Any) -> subprocess.Popen:
    process = subprocess.Popen(command, start_new_session=True, **options)
    with _lock:
        _running.add(process)
    return process


def end(process: subprocess.Popen) -> None:
    _signal(process, signal.SIGTERM)
    try:
        process.wait(END_LIMIT)
    except subprocess.TimeoutExpired:
        pass
    _signal(process, signal.SIGKILL)
    process.wait()
    with _lock:
        _running.discard(process)


def end_all() -> None:
    with _lock:
        left = list(_running)
    for process in left:
        end(process)


def _signal(process: subprocess.Popen, number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass
