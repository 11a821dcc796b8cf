"""
Contact sheets as downloads: the same file that ``sheet`` makes, sent a picture at a time.

A few threads of their own make them, so that they hold up neither pages nor views.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from functools import partial
from urllib.parse import quote

import anyio
import anyio.to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from rembg_watch.errors import UsageError
from rembg_watch.ledger.pages import shoot_of
from rembg_watch.showing.contents import PART, Contents, Style, contents_of
from rembg_watch.showing.pairs import pair_of
from rembg_watch.showing.pictures import Views
from rembg_watch.showing.sheet_html import html
from rembg_watch.web.daemons import Daemon

_THREADS = 2


class Sheets:
    """The contact sheets of one daemon."""

    def __init__(self, daemon: Daemon, views: Views, now: Callable[[], datetime]) -> None:
        self._daemon = daemon
        self._views = views
        self._now = now
        self._places = anyio.CapacityLimiter(_THREADS)

    def routes(self) -> list[BaseRoute]:
        """List them."""
        return [Route("/sheet/{folder:path}/{id:int}.html", self._sheet)]

    async def _sheet(self, request: Request) -> Response:
        contents = await anyio.to_thread.run_sync(self._contents, request, limiter=self._places)
        style = Style(made_on=f"{self._now().astimezone():%Y-%m-%d}")
        pairs = map(partial(pair_of, views=self._views), contents.entries)
        name = quote(f"{contents.title.replace('/', '-')}.html", safe="")
        headers = {
            "content-disposition": f"attachment; filename=\"contact-sheet.html\"; filename*=UTF-8''{name}",
            "cache-control": "private, no-store",
        }
        return StreamingResponse(self._sent(html(contents, pairs, style)), media_type="text/html", headers=headers)

    def _contents(self, request: Request) -> Contents:
        number, ledger = request.path_params["id"], self._daemon.ledger()
        job = ledger.get(number) if number < 2**63 else None
        folder = self._daemon.folder(request.path_params["folder"])
        if job is None or folder is None or job.folder != folder.name:
            raise HTTPException(404, "There is no such shoot, or not any more.")
        shoot = shoot_of(job.folder, job.source, depth=folder.shoot_depth)
        try:
            found = contents_of(ledger, shoot, folder, self._daemon.settings.state_dir, most=PART)
        except UsageError as error:
            raise HTTPException(
                413, f"It has more than {PART} pictures: the command rembg-watch sheet makes several files of it."
            ) from error
        if not found.entries:
            raise HTTPException(404, "No picture of this shoot is cut out.")
        return found.without_reasons

    async def _sent(self, pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
        while piece := await anyio.to_thread.run_sync(next, pieces, b"", limiter=self._places):
            yield piece
