"""
The sandbox as an in-process transport for a synchronous ``httpx.Client``.

The only module here that knows httpx. Connection faults become the exceptions that
a real connection would raise, and time-outs come at once instead of after a wait.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing

import httpx

from rembg_watch.sandbox.emulator import Emulator
from rembg_watch.sandbox.exchange import SERVER_HEADERS, Breakage, Mishap, Orders, Reply, Request
from rembg_watch.sandbox.upload import UploadReader

Trace = Callable[[str, dict[str, object]], None]
SLICE_BYTES = 16_384


class SandboxTransport(httpx.BaseTransport):
    """Answers every host alike; the path alone decides."""

    def __init__(self, sandbox: Emulator) -> None:
        self._sandbox = sandbox

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer *request*, or raise what a connection that broke would have raised."""
        if self._sandbox.is_down:
            raise httpx.ConnectError("[Errno 111] Connection refused", request=request)
        trace: Trace = request.extensions.get("trace", lambda _name, _info: None)
        if request.url.path != "/rmbg":
            body = _drained(request.stream, trace)
            return self._carry_out(request, self._sandbox.respond(_without_form(request, body)), trace)
        with self._sandbox.attending():
            return self._carry_out(request, self._removed(request, trace), trace)

    def _removed(self, request: httpx.Request, trace: Trace) -> Reply:
        with closing(UploadReader(request.headers.get("content-type"))) as reader:
            orders = self._upload(request, reader, trace)
            return self._sandbox.respond(reader.request(request.method, request.url.path, _headers(request), orders))

    def _upload(self, request: httpx.Request, reader: UploadReader, trace: Trace) -> Orders | None:
        """Read the body; stop early where the connection is to be reset under the upload."""
        assert isinstance(request.stream, Iterable)
        trace("http11.send_request_body.started", {})
        length = int(request.headers.get("content-length", 0))
        orders: Orders | None = None
        for chunk in request.stream:
            reader.feed(chunk)
            if orders is None and reader.filename is not None and request.method == "POST":
                orders = self._sandbox.draw(request.url.path, reader.filename)
            if orders is not None and orders.cuts_upload(reader.received_bytes, length):
                trace("http11.send_request_body.failed", {})
                return orders
        trace("http11.send_request_body.complete", {"return_value": None})
        return orders

    def _carry_out(self, request: httpx.Request, reply: Reply, trace: Trace) -> httpx.Response:
        self._wait(request, reply.delay_s)
        breakage = reply.breakage
        if breakage is not None and breakage.mishap is Mishap.CUT_UPLOAD:
            raise httpx.WriteError("[Errno 32] Broken pipe", request=request)
        if reply.status == 0 or (breakage is not None and breakage.mishap is Mishap.RESET and not breakage.share):
            raise httpx.ReadError("[Errno 104] Connection reset by peer", request=request)
        if breakage is not None and breakage.mishap is Mishap.STALL and not breakage.share:
            raise httpx.ReadTimeout("timed out", request=request)
        trace("http11.receive_response_headers.complete", {"return_value": None})
        headers = {**SERVER_HEADERS, "content-length": str(len(reply.body)), **reply.headers}
        return httpx.Response(reply.status, headers=headers, stream=_Body(request, reply.body, breakage))

    def _wait(self, request: httpx.Request, delay_s: float) -> None:
        """Let the answer take its time; a wait beyond the read time-out ends in one at once."""
        patience_s = request.extensions.get("timeout", {}).get("read")
        if patience_s is not None and delay_s > patience_s:
            raise httpx.ReadTimeout("timed out", request=request)
        if delay_s:
            time.sleep(delay_s)


class _Body(httpx.SyncByteStream):
    """A reply's body, which may break off."""

    def __init__(self, request: httpx.Request, body: bytes, breakage: Breakage | None) -> None:
        self._request = request
        self._body = body
        self._breakage = breakage

    def __iter__(self) -> Iterator[bytes]:
        breakage = self._breakage
        is_whole = breakage is None or breakage.mishap is Mishap.DRIP
        end = len(self._body) if is_whole or breakage is None else int(len(self._body) * breakage.share)
        for start in range(0, end, SLICE_BYTES):
            yield self._body[start : min(end, start + SLICE_BYTES)]
        if not is_whole and breakage is not None:
            raise self._break(breakage, end)

    def _break(self, breakage: Breakage, sent: int) -> httpx.TransportError:
        if breakage.mishap is Mishap.RESET:
            return httpx.ReadError("[Errno 104] Connection reset by peer", request=self._request)
        if breakage.mishap is Mishap.STALL:
            return httpx.ReadTimeout("timed out", request=self._request)
        words = f"peer closed connection without sending complete message body (received {sent} bytes, "
        return httpx.RemoteProtocolError(f"{words}expected {len(self._body)})", request=self._request)


def _drained(stream: object, trace: Trace) -> bytes:
    assert isinstance(stream, Iterable)
    body = b"".join(stream)
    trace("http11.send_request_body.complete", {"return_value": None})
    return body


def _headers(request: httpx.Request) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}


def _without_form(request: httpx.Request, body: bytes) -> Request:
    return Request(
        method=request.method,
        path=request.url.path,
        query=tuple(request.url.params.multi_items()),
        headers=_headers(request),
        body=body,
    )
