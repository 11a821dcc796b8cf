"""
The bytes of a call into its socket and out of it, with as few system calls as can be.

Each system call lets another thread run, and the next one waits for its turn among all workers: with
64 of them the ten that are saved here weigh more than those that a call needs. What is sent,
and when, is not decided here. This is the only module that knows httpcore, which httpx is built on.
"""

import socket
import ssl
import struct
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import httpcore

Trace = Callable[[str, Mapping[str, Any]], object]
"""Who wants to know of new connections, with the names and values that httpcore's trace has for it."""

_HAS_KERNEL_TIMEOUTS = sys.platform == "linux"
_UNSET = object()


def use_few_calls(http: object, trace: Trace) -> bool:
    """
    Let the connections that *http*, a client of httpx, opens from now on go through ``Stream``; say if it worked.

    *trace* is then told of each new connection; that of httpcore tells of each step, for 5 % of a call.

    httpx shows no way to it. If the way there is lost in another version, calls are as they
    were, and cost more.
    """
    transports = [getattr(http, "_transport", None), *getattr(http, "_mounts", {}).values()]
    pools = [getattr(one, "_pool", None) for one in transports if one is not None]  # no proxy is a mount of None
    found = [pool for pool in pools if hasattr(pool, "_network_backend")]
    for pool in found:
        setattr(pool, "_network_backend", _Backend(trace))  # noqa: B010  # no type knows it
    return bool(pools) and found == pools


class _Backend(httpcore.SyncBackend):
    def __init__(self, trace: Trace) -> None:
        self._trace = trace

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        self._trace("connect_tcp.started", {})
        stream = Stream(super().connect_tcp(host, port, timeout, local_address, socket_options), self._trace)
        self._trace("connect_tcp.complete", {"return_value": stream})
        return stream


class Stream(httpcore.NetworkStream):
    """
    What goes through one socket, in place of httpcore's own stream.

    That one sets the time-out anew for each block, and Python asks by ``poll`` before each
    block whether it can be moved. Here the kernel minds the time-out, where there is no TLS,
    whose library would not notice. The head of a request waits for what comes next, its
    first block, its end or the wait for the answer, and leaves together with it.

    Args:
        stream: The one of httpcore, on a connected socket.
        trace: Told when TLS has begun, on a socket of its own.
    """

    def __init__(self, stream: httpcore.NetworkStream, trace: Trace) -> None:
        self._stream = stream
        self._trace = trace
        self._socket: socket.socket = stream.get_extra_info("socket")
        self._is_plain = stream.get_extra_info("ssl_object") is None
        self._head = b""
        self._is_at_head = True
        self._timeout_s: object = _UNSET

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """
        Send *buffer*, or keep it for a moment if a request begins with it.

        Raises:
            httpcore.WriteTimeout: Nothing could be sent for *timeout* seconds.
            httpcore.WriteError: The connection is broken.
        """
        if self._is_at_head and buffer:
            self._head, self._is_at_head = buffer, False
            return
        if self._head:
            buffer, self._head = self._head + buffer, b""
        if not buffer:
            return
        try:
            self._set_timeout(timeout)
            sent = self._socket.send(buffer)
            while sent < len(buffer):
                sent += self._socket.send(memoryview(buffer)[sent:])
        except (TimeoutError, BlockingIOError) as late:
            raise httpcore.WriteTimeout(late) from late
        except OSError as broken:
            raise httpcore.WriteError(broken) from broken

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """
        Return what has come, as soon as anything has.

        Raises:
            httpcore.ReadTimeout: Nothing came for *timeout* seconds.
            httpcore.ReadError: The connection is broken.
        """
        if self._head:
            self.write(b"", timeout)
        self._is_at_head = True
        try:
            self._set_timeout(timeout)
            return self._socket.recv(max_bytes)
        except (TimeoutError, BlockingIOError) as late:
            raise httpcore.ReadTimeout(late) from late
        except OSError as broken:
            raise httpcore.ReadError(broken) from broken

    def _set_timeout(self, timeout_s: float | None) -> None:
        if timeout_s == self._timeout_s:
            return
        if self._is_plain and _HAS_KERNEL_TIMEOUTS:
            self._socket.settimeout(None)
            micros = 0 if timeout_s is None else max(1, round(timeout_s * 1e6))  # 0 is no end to the kernel
            for which in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                self._socket.setsockopt(socket.SOL_SOCKET, which, struct.pack("@ll", *divmod(micros, 1_000_000)))
        else:
            self._socket.settimeout(timeout_s)
        self._timeout_s = timeout_s

    def close(self) -> None:
        """Close the connection, with what was held back."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Go on in TLS; through a proxy that is spoken to in TLS already, as httpcore does."""
        secured = self._stream.start_tls(ssl_context, server_hostname, timeout)
        self._trace("start_tls.complete", {"return_value": secured})
        return Stream(secured, self._trace) if self._is_plain else secured

    def get_extra_info(self, info: str) -> object:
        """Return what httpcore's stream knows."""
        return self._stream.get_extra_info(info)
