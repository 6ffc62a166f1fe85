"""Tokens that a resource server must refuse: made out of a good one, or good for another server."""
from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, Iterator

from . import processes
from .bridge import Failed


def refuse_forged(token: str, url: str, program: Path, log: Path, post: Callable[[str, str], int]) -> None:
    """Tries tokens at `url`, and the good one at a second resource server. `post` sends one and returns the status."""
    if post(url, token) in (401, 403):
        raise Failed("the server does not take the token of the bridge")
    for name, forged in forgeries(token):
        status = post(url, forged)
        if status != 401:
            raise Failed(f"{name}: the server answers a forged token with status {status}")
    if token.count(".") == 2:
        refuse_elsewhere(token, program, log, post)


def forgeries(token: str) -> Iterator[tuple[str, str]]:
    yield "unknown token", "A" * len(token)
    if token.count(".") != 2:
        return
    header, claims, signature = token.split(".")
    yield "alg none", f"{changed(header, alg='none')}.{claims}."
    yield "alg none with a signature", f"{changed(header, alg='none')}.{claims}.{signature}"
    yield "alg HS256", f"{changed(header, alg='HS256')}.{claims}.{signature}"
    yield "unknown kid", f"{changed(header, kid='unknown')}.{claims}.{signature}"
    yield "changed audience", f"{header}.{changed(claims, aud='https://another.example.com/mcp')}.{signature}"
    yield "changed issuer", f"{header}.{changed(claims, iss='https://evil.example.com')}.{signature}"
    yield "later end", f"{header}.{changed(claims, exp=int(time.time()) + 10**6)}.{signature}"
    yield "another user", f"{header}.{changed(claims, sub='root')}.{signature}"
    yield "no signature", f"{header}.{claims}."


def refuse_elsewhere(token: str, program: Path, log: Path, post: Callable[[str, str], int]) -> None:
    """A resource server of the same issuer, under another name."""
    issuer = decoded(token.split(".")[1])["iss"]
    environment = {
        **os.environ, "ISSUER": issuer, "LISTEN": "127.0.0.1:0", "NO_PROXY": "*", "CACHE_SECONDS": "0",
        **{name: "" for name in ("RESOURCE", "SCOPES", "INTROSPECTION_CLIENT_ID")},
    }
    with log.open("wb") as errors:
        server = processes.start([str(program)], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
    try:
        assert server.stdout is not None
        url, address = server.stdout.readline().decode().strip().split(" at ")
        status = post(f"http://{address}{url[url.rindex('/'):]}".replace("127.0.0.1", "localhost"), token)
        if status != 401:
            raise Failed(f"a resource server takes a token for another one: status {status}")
    finally:
        processes.end(server)


def changed(part: str, **members: Any) -> str:
    text = json.dumps({**decoded(part), **members})
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def decoded(part: str) -> dict[str, Any]:
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
