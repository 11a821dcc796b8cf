"""``Sandbox``: the emulator with its two faces, its pages and its control routes."""

from importlib import resources
from typing import TYPE_CHECKING

from rembg_watch.sandbox import control
from rembg_watch.sandbox.emulator import RMBG, USAGE, Emulator
from rembg_watch.sandbox.exchange import Reply, Request, error_reply, json_reply
from rembg_watch.sandbox.openapi import document

if TYPE_CHECKING:
    import httpx

    from rembg_watch.sandbox.server import LoopbackServer

PAGE_HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": "default-src 'self' 'unsafe-inline' blob: data:",  # nothing from elsewhere, ever
}


class Sandbox(Emulator):
    """The API on this machine: the emulator, in process or on loopback."""

    def transport(self) -> "httpx.BaseTransport":
        """Return the in-process face: a transport for a synchronous ``httpx.Client``."""
        from rembg_watch.sandbox.transport import SandboxTransport

        return SandboxTransport(self)

    def serve(self, host: str = "127.0.0.1", port: int = 0) -> "LoopbackServer":
        """
        Return the loopback face, listening; a context manager with ``url``, ``usage_url`` and ``stop``.

        Raises:
            PortError: the address cannot be listened on.
            MissingExtraError: a library of the ``sandbox`` extra is missing; told now, not at the first request.
        """
        from rembg_watch.sandbox.server import LoopbackServer

        self.cutter.warm_up()
        return LoopbackServer(self, host, port).start()

    def respond_beside(self, request: Request) -> Reply:
        """Show the reference page and take orders."""
        if request.method == "GET" and request.path == "/api/openapi":
            return json_reply(200, document())
        if request.method == "GET" and request.path == "/":
            page = (resources.files("rembg_watch.sandbox") / "reference.html").read_bytes()
            return Reply(status=200, headers=PAGE_HEADERS, body=page)
        return control.respond(self, request) or _no_such_route(request)


def _no_such_route(request: Request) -> Reply:
    known = {RMBG: "POST", USAGE: "GET", "/api/openapi": "GET", "/": "GET", **control.METHODS}
    if request.path in known:
        return error_reply(405, "Method not allowed", headers={"allow": known[request.path]})
    return error_reply(404, "Not found")
