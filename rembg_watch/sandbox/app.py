"""
The sandbox as an ASGI application: requests in, replies out, mishaps made real.

Broken connections need the connection itself: the server hands its transport over
in the scope's state under ``transport``. Everything that is decided, ``Emulator``
decides; pictures are worked on in threads so that slow ones hold nobody up.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from concurrent.futures import Executor
from contextlib import closing, suppress
from typing import Any
from urllib.parse import parse_qsl

from rembg_watch.sandbox.emulator import Emulator
from rembg_watch.sandbox.exchange import SERVER_HEADERS, Breakage, Mishap, Orders, Reply, Request
from rembg_watch.sandbox.hosts import is_answered
from rembg_watch.sandbox.upload import UploadReader

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAX_CONTROL_BYTES = 4 * 1024 * 1024
DRIP_SLICES = 50


_NOT_OURS = Reply(
    status=421,
    headers={"content-type": "application/json", "connection": "close"},
    body=b'{"error": "The sandbox answers to the address that it listens on, not to the name in Host."}',
)


class GoneError(Exception):
    """The client went away before its request was whole."""


class App:
    """The ASGI application of one sandbox."""

    def __init__(self, sandbox: Emulator, executor: Executor, listens_on: str = "127.0.0.1") -> None:
        self._sandbox = sandbox
        self._listens_on = listens_on
        self._executor = executor
        self.stopping = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        if not is_answered(_headers(scope).get("host", ""), self._listens_on):
            await self._deliver(_NOT_OURS, scope, receive, send)
            return
        if self._sandbox.is_down:
            await _reset(scope, receive)
            return
        with suppress(GoneError):
            if scope["path"] == "/rmbg":
                with self._sandbox.attending():
                    await self._deliver(await self._removed(scope, receive), scope, receive, send)
            else:
                await self._deliver(await self._answered(scope, receive), scope, receive, send)

    async def _answered(self, scope: Scope, receive: Receive) -> Reply:
        body = bytearray()
        async for chunk in _chunks(receive):
            if len(body) < MAX_CONTROL_BYTES:
                body += chunk
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        request = Request(
            method=scope["method"], path=scope["path"], query=tuple(query), headers=_headers(scope), body=bytes(body)
        )
        return await self._in_thread(request)

    async def _removed(self, scope: Scope, receive: Receive) -> Reply:
        headers = _headers(scope)
        with closing(UploadReader(headers.get("content-type"))) as reader:
            orders = await self._upload(scope, receive, reader, headers)
            return await self._in_thread(reader.request(scope["method"], scope["path"], headers, orders))

    async def _upload(
        self, scope: Scope, receive: Receive, reader: UploadReader, headers: dict[str, str]
    ) -> Orders | None:
        """Read the body; stop early where the connection is to be reset under the upload."""
        declared = headers.get("content-length", "")
        length = int(declared) if declared.isdigit() else 0
        orders: Orders | None = None
        async for chunk in _chunks(receive):
            reader.feed(chunk)
            if orders is None and reader.filename is not None and scope["method"] == "POST":
                orders = self._sandbox.draw(scope["path"], reader.filename)
            if orders is not None and (orders.is_early or orders.cuts_upload(reader.received_bytes, length)):
                break
        return orders

    async def _in_thread(self, request: Request) -> Reply:
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._sandbox.respond, request)

    async def _deliver(self, reply: Reply, scope: Scope, receive: Receive, send: Send) -> None:
        if reply.delay_s:
            await self._pause(reply.delay_s)
        breakage = reply.breakage
        if reply.status == 0 or (breakage and breakage.mishap is Mishap.RESET and not breakage.share):
            await _reset(scope, receive)
        elif breakage is None:
            await _begin(reply, send)
            await send({"type": "http.response.body", "body": reply.body})
        elif breakage.mishap is Mishap.DRIP:
            await self._drip(reply, breakage, send)
        else:
            await self._break(reply, breakage, scope, receive, send)

    async def _drip(self, reply: Reply, breakage: Breakage, send: Send) -> None:
        await _begin(reply, send)
        step = max(1, -(-len(reply.body) // DRIP_SLICES))
        slices = [reply.body[i : i + step] for i in range(0, len(reply.body), step)]
        for piece in slices:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await self._pause(breakage.seconds / len(slices))
        await send({"type": "http.response.body", "body": b""})

    async def _break(self, reply: Reply, breakage: Breakage, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a share of the answer, then reset, close or fall silent."""
        if breakage.share or breakage.mishap is Mishap.CUT:
            await _begin(reply, send)
            part = reply.body[: int(len(reply.body) * breakage.share)]
            await send({"type": "http.response.body", "body": part, "more_body": True})
        if breakage.mishap is Mishap.STALL:
            gone = asyncio.ensure_future(_gone(receive))
            await asyncio.wait(
                [gone, asyncio.ensure_future(self._pause(breakage.seconds))], return_when="FIRST_COMPLETED"
            )
        if breakage.mishap is Mishap.RESET:
            await _drained(scope["state"]["transport"])
            await _reset(scope, receive)
            return
        scope["state"]["transport"].close()
        await _gone(receive)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not beyond the end of the server."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), seconds)


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    """Yield the body as it comes; a body that breaks off raises."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise GoneError
        yield message.get("body", b"")
        if not message.get("more_body"):
            return


async def _begin(reply: Reply, send: Send) -> None:
    headers = {**SERVER_HEADERS, "content-length": str(len(reply.body)), **reply.headers}
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": pairs})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _drained(transport: asyncio.Transport) -> None:
    """Let what was written leave: a reset would discard it."""
    for _ in range(100):
        if not transport.get_write_buffer_size():
            await asyncio.sleep(0.02)  # and let the peer's kernel take it before the reset overtakes it
            return
        await asyncio.sleep(0.01)


async def _reset(scope: Scope, receive: Receive) -> None:
    """End the connection with a TCP reset."""
    transport: asyncio.Transport = scope["state"]["transport"]
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    await _gone(receive)


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
