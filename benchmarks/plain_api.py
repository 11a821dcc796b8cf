"""
The least that passes for the API: read a body, wait, answer one small picture, note when.

It is there so that a benchmark measures the client and not the server: it parses nothing
but the head, checks nothing, bills nothing. For everything else there is the sandbox.
Run by the other benchmarks, in a process of its own: ``python -m benchmarks.plain_api``.
"""

import argparse
import asyncio
import io
import json
import re
import time
from pathlib import Path

from PIL import Image

ACCOUNT = {
    "membership": "Benchmark",
    "credits": 10_000_000,
    "prepaidCredits": 0,
    "app_usage": 0,
    "api_usage": 0,
    "billingCycle": {
        "periodStartUnix": 1_700_000_000,
        "periodEndUnix": 4_000_000_000,
        "appUsage": 0,
        "apiUsage": 0,
        "includedCredits": 10_000_000,
        "prepaidCredits": 0,
        "usedIncludedCredits": 0,
        "remainingIncludedCredits": 10_000_000,
        "stripeBillingSynced": True,
    },
}
LARGE_BYTES = 1_000_000
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_EXPECT = re.compile(rb"\r\nexpect: *100-continue", re.IGNORECASE)


def picture(kind: str, width: int, height: int) -> bytes:
    """Return a picture that compresses well: what is measured is not the network."""
    whole = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(whole, kind)
    return whole.getvalue()


class Api(asyncio.Protocol):
    """One connection."""

    latency_s = 0.3
    answer = b""
    times: list[tuple[float, float]] = []  # noqa: RUF012  # of all connections: head read, answer written
    connections = 0
    gather = 0
    gathered: list["Api"] = []  # noqa: RUF012  # heads read, bodies waiting for enough others

    def __init__(self) -> None:
        self._head = b""
        self._left = -1  # bytes of the body still to come; -1: in the head
        self._began_s = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        Api.connections += 1

    def data_received(self, data: bytes) -> None:
        if self._left < 0:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            self._began_s = time.monotonic()
            length = _LENGTH.search(self._head)
            self._left = (int(length[1]) if length else 0) + end + 4 - len(self._head)
            if self._left and _EXPECT.search(self._head) and self._transport:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            if self._left > LARGE_BYTES and self.gather:
                self._wait_for_others()
        else:
            self._left -= len(data)
        if self._left <= 0:
            head, self._head, self._left = self._head, b"", -1
            self._asked(head, self._began_s)

    def _wait_for_others(self) -> None:
        """Read on when as many large bodies as wanted have begun: then they come all at once."""
        assert self._transport is not None
        self._transport.pause_reading()
        Api.gathered.append(self)
        if len(Api.gathered) >= self.gather:
            together, Api.gathered = Api.gathered, []
            for one in together:
                if one._transport is not None and not one._transport.is_closing():
                    one._transport.resume_reading()

    def _asked(self, head: bytes, began_s: float) -> None:
        if head.startswith(b"POST /rmbg"):
            asyncio.get_running_loop().call_later(self.latency_s, self._answer, head, began_s)
        elif head.startswith(b"GET /times"):
            times, Api.times = Api.times, []
            connections, Api.connections = Api.connections, 0
            told = json.dumps({"times": times, "connections": connections})
            self._write(head, b"application/json", told.encode())
        else:
            self._write(head, b"application/json", json.dumps(ACCOUNT).encode())

    def _answer(self, head: bytes, began_s: float) -> None:
        self._write(head, b"image/webp", self.answer)
        Api.times.append((began_s, time.monotonic()))

    def _write(self, head: bytes, kind: bytes, body: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        is_last = _CLOSE.search(head[: head.find(b"\r\n\r\n") + 2]) is not None
        lines = [b"HTTP/1.1 200 OK", b"content-type: " + kind, b"content-length: %d" % len(body)]
        lines += [b"connection: close"] if is_last else []
        self._transport.write(b"\r\n".join([*lines, b"", b""]) + body)
        if is_last:
            self._transport.close()


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Api, "127.0.0.1", port, backlog=1024)
    print(f"listening on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.3, help="seconds from the last byte in to the answer")
    parser.add_argument("--answer", type=Path, help="the picture that is answered; default: 640 x 480")
    parser.add_argument("--gather", type=int, default=0, help="read large bodies when so many have begun")
    options = parser.parse_args()
    Api.gather = options.gather
    Api.latency_s = options.latency
    Api.answer = options.answer.read_bytes() if options.answer else picture("WEBP", 640, 480)
    asyncio.run(serve(options.port))


if __name__ == "__main__":
    main()
