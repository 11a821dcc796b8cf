"""
Everything that is asked passes here first: who may ask is decided by ``guard``, and each answer gets its headers.

It is what stands between the server and the routes, for pages, pictures, figures and static files alike.
"""

import asyncio
import html
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rembg_watch.web.guard import HEADERS, OPEN_PATHS, Asked, Door, Refusal, refusal
from rembg_watch.web.login import WRONG_S, Login

_REFUSED = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>rembg-watch</title><h1>Not answered</h1><p>{}</p>'
)


class Entry:
    """An ASGI application around another one."""

    def __init__(self, inner: ASGIApp, *, door: Door, login: Login, base_path: str = "") -> None:
        self._inner = inner
        self._door = door
        self._login = login
        self._base_path = base_path
        self._wrong: asyncio.Lock | None = None  # held while nobody else's password is looked at

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            return
        scope = self._below_base(scope)
        headers = Headers(scope=scope)
        sending = _with_headers(send)
        why = refusal(_asked(scope, headers), self._door)
        if why is not None:
            await _refused(why)(scope, receive, sending)
            return
        user = await self._user(scope, headers)
        if user is None:
            answer = _refused(Refusal(401 if self._login.challenge else 403, self._login.sentence))
            if self._login.challenge:
                answer.headers["www-authenticate"] = self._login.challenge
            await answer(scope, receive, sending)
            return
        scope["user"] = user
        await self._inner(scope, receive, sending)

    def _below_base(self, scope: Scope) -> Scope:
        """Take the base path off, if the proxy has left it there."""
        path = scope["path"]
        if self._base_path and (path == self._base_path or path.startswith(f"{self._base_path}/")):
            return {**scope, "path": path[len(self._base_path) :] or "/"}
        return {**scope}

    async def _user(self, scope: Scope, headers: Headers) -> str | None:
        if scope["path"] in OPEN_PATHS:
            return ""
        client = scope.get("client")
        said: Mapping[str, str] = {name: value for name, value in headers.items()}  # noqa: C416 - the first of each
        user = self._login.user(said, client[0] if client else None)
        if user is None and "authorization" in headers:
            self._wrong = self._wrong or asyncio.Lock()
            async with self._wrong:
                await asyncio.sleep(WRONG_S)
        return user


def _asked(scope: Scope, headers: Headers) -> Asked:
    hosts = headers.getlist("host")
    return Asked(
        method=scope["method"],
        host=hosts[0] if len(hosts) == 1 else None,
        origin=headers.get("origin"),
        site=headers.get("sec-fetch-site"),
        mode=headers.get("sec-fetch-mode"),
        dest=headers.get("sec-fetch-dest"),
    )


def _refused(why: Refusal) -> Response:
    headers = {"allow": "GET, HEAD"} if why.status == 405 else {}
    return HTMLResponse(_REFUSED.format(html.escape(why.sentence)), why.status, headers)


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return sending
