"""Relay between a host and a server, which delays, stalls, resets and refuses on request."""
from __future__ import annotations

import asyncio
import random
import socket
import time
from typing import Awaitable, Callable, Optional

CHUNK = 1 << 16  # bytes
CLOSING = 2.0  # seconds for the last connections to end
TOKEN_REQUEST = b"POST /token "

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Relay:
    def __init__(self, listener: socket.socket, connect: Connect, dice: random.Random) -> None:
        self.listener = listener
        self.port: int = listener.getsockname()[1]
        self.connect = connect
        self.dice = dice
        self.delay = 0.0  # the longest, in seconds, for each piece
        self.refuses = False
        self.flows = asyncio.Event()
        self.flows.set()
        self.connections: set[Connection] = set()
        self.server: Optional[asyncio.base_events.Server] = None
        self.on_token_request: Callable[[Connection], None] = lambda _: None

    async def start(self) -> None:
        self.server = await asyncio.start_server(self.serve, sock=self.listener)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuses:
            writer.transport.abort()
            return
        connection = Connection(self, reader, writer)
        self.connections.add(connection)
        try:
            await connection.carry()
        finally:
            self.connections.discard(connection)

    def reset(self) -> None:
        """Breaks all connections."""
        for connection in list(self.connections):
            connection.abort()

    async def close(self) -> None:
        """Takes no more connections, and lets the last ones end."""
        if self.server is not None:
            self.server.close()
        self.flows.set()
        until = time.monotonic() + CLOSING
        while self.connections and time.monotonic() < until:
            self.reset()
            await asyncio.sleep(0.01)


class Connection:
    """One connection from a host. A token request on it is noted with its time."""

    def __init__(self, relay: Relay, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.relay = relay
        self.reader, self.writer = reader, writer
        self.client_port: int = writer.get_extra_info("peername")[1]
        self.onward: Optional[asyncio.StreamWriter] = None
        self.asked_for_token: Optional[float] = None
        self.got_token: Optional[float] = None

    async def carry(self) -> None:
        try:
            await self.relay.flows.wait()
            reader, self.onward = await self.relay.connect()
            there = asyncio.ensure_future(self.pump(self.reader, self.onward, self.see_request))
            back = asyncio.ensure_future(self.pump(reader, self.writer, self.see_answer))
            await asyncio.wait([there, back], return_when=asyncio.FIRST_EXCEPTION)
            for task in (there, back):
                task.cancel()
        except OSError:
            pass
        finally:
            self.abort()

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, see: Callable[[bytes], None]) -> None:
        while True:
            piece = await reader.read(CHUNK)
            if self.relay.delay:
                await asyncio.sleep(self.relay.dice.uniform(0, self.relay.delay))
            await self.relay.flows.wait()
            if not piece:
                if writer.can_write_eof():
                    writer.write_eof()
                return
            see(piece)
            writer.write(piece)
            await writer.drain()

    def see_request(self, piece: bytes) -> None:
        if piece.startswith(TOKEN_REQUEST):
            self.asked_for_token, self.got_token = time.monotonic(), None
            self.relay.on_token_request(self)

    def see_answer(self, _: bytes) -> None:
        if self.asked_for_token is not None and self.got_token is None:
            self.got_token = time.monotonic()

    def abort(self) -> None:
        for writer in (self.writer, self.onward):
            if writer is not None:
                writer.transport.abort()


def to_port(port: int) -> Connect:
    return lambda: asyncio.open_connection("127.0.0.1", port)


def to_socket(path: str) -> Connect:
    return lambda: asyncio.open_unix_connection(path)
