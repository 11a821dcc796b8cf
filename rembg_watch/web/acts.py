"""
The routes by which something is changed, where ``may = "act"``: who may ask has been decided by then (``guard``).

A form is answered with the way back, so that going back or loading again does nothing twice. What costs, and
what means more than one picture, is asked for first, with the number and the price; more than was agreed to is
never done.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from urllib.parse import parse_qs, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from rembg_watch import decide
from rembg_watch.decide import Person
from rembg_watch.jobs import Job
from rembg_watch.ledger import Ledger, Which
from rembg_watch.ledger.pages import shoot_of
from rembg_watch.web.daemons import Daemon
from rembg_watch.web.orders import MOST_AT_ONCE, PAUSE, RESUME, Form, Order, button, local, order_of, question

_MOST_BYTES = 512 * 1024
_AT_A_TIME = 500

Page = Callable[..., Response]


class Acts:
    """What can be done with the pictures of one daemon."""

    def __init__(self, daemon: Daemon, page: Page, prefix: str, now: Callable[[], datetime]) -> None:
        self._daemon = daemon
        self._page = page
        self._prefix = prefix
        self._now = now

    def routes(self) -> list[BaseRoute]:
        """List them."""
        return [
            Route("/act", self._asked, methods=["GET"]),
            Route("/act", self._act, methods=["POST"]),
            Route("/pause", self._pause, methods=["POST"]),
        ]

    def _asked(self, request: Request) -> Response:
        """Ask for a yes: how many pictures are meant, and what they may cost."""
        asked = request.query_params
        order = order_of({name: asked.getlist(name) for name in asked})
        if order is None:
            raise HTTPException(404, "There is no such page.")
        return self._question(request, order)

    def _question(self, request: Request, order: Order, *, is_more: bool = False) -> Response:
        count, price = len(self._meant(order)), self._daemon.settings.credits.per_image
        return self._page(
            "act.html",
            request,
            "Are you sure?",
            question=question(order.act, count, per_image=price),
            button=button(order.act, count, per_image=price),
            fields=[*order.fields, ("most", str(count))],
            back=order.back or f"{self._prefix}/",
            count=count,
            is_more=is_more,
        )

    async def _act(self, request: Request) -> Response:
        form = await _form(request)
        return await run_in_threadpool(self._act_now, request, form)

    def _act_now(self, request: Request, form: Form) -> Response:
        order = order_of(form)
        if order is None:
            raise HTTPException(400, "Nothing is asked for that could be done.")
        meant = self._meant(order)
        is_agreed = order.most is not None or (len(order.ids) == 1 and order.act is not decide.Act.REDO)
        if not is_agreed or (order.most is not None and len(meant) > order.most):
            return self._question(request, order, is_more=is_agreed)
        person = Person(who=request.scope.get("user") or "", at=self._now())
        dirs = {one.name: one.review_dir for one in self._daemon.settings.folders}
        with self._daemon.deciding() as ledger:
            count = decide.decide(ledger, order.act, meant, person, review_dirs=dirs)
        return self._back(order.back, order.act.value, count)

    async def _pause(self, request: Request) -> Response:
        form = await _form(request)
        return await run_in_threadpool(self._pause_now, form)

    def _pause_now(self, form: Form) -> Response:
        word, names = (form.get("do") or ("",))[0], tuple(form.get("folder", ()))
        known = {one.name for one in self._daemon.settings.folders}
        if word not in {PAUSE, RESUME} or not known.issuperset(names):
            raise HTTPException(400, "Nothing is asked for that could be done.")
        with self._daemon.deciding() as ledger:
            if word == PAUSE:
                decide.change_pauses(ledger, lambda pauses, at: pauses.pausing(names, at), self._now())
            else:
                decide.change_pauses(ledger, lambda pauses, _: pauses.resuming(names), self._now())
        return self._back(local((form.get("back") or ("",))[0]), word, 1)

    def _back(self, path: str, word: str, count: int) -> Response:
        place = path or f"{self._prefix}/"
        said = urlencode({"did": word, "n": count})
        return RedirectResponse(f"{place}{'&' if '?' in place else '?'}{said}", 303)

    # --- which pictures ---------------------------------------------------------------------------

    def _meant(self, order: Order) -> list[Job]:
        """Return the pictures that an order means and with which it can be done, as they are now."""
        ledger, meant = self._daemon.ledger(), list[Job]()
        some = list[Job]()
        for job in self._of(ledger, order):
            some.append(job)
            if len(some) == _AT_A_TIME:
                meant += _possible(ledger, order, some)
                some = []
            if len(meant) >= MOST_AT_ONCE:
                break
        return [*meant, *_possible(ledger, order, some)][:MOST_AT_ONCE]

    def _of(self, ledger: Ledger, order: Order) -> Iterator[Job]:
        if order.ids:
            yield from ledger.jobs(Which(ids=frozenset(order.ids)))
        elif order.shoot is not None:
            yield from self._of_shoot(ledger, order.shoot)
        elif order.folder is not None and order.state is not None:
            which = Which(folders=frozenset({order.folder}), states=frozenset({order.state}))
            yield from (job for job in ledger.jobs(which) if order.code in (None, job.code or ""))

    def _of_shoot(self, ledger: Ledger, number: int) -> Iterator[Job]:
        one = ledger.get(number)
        if one is None:
            return
        shoot = shoot_of(one.folder, one.source, depth=self._daemon.depth(one.folder))
        start: bytes | None = None
        while True:
            page = ledger.members(shoot, start=start, limit=_AT_A_TIME)
            yield from page.jobs
            start = page.next
            if start is None:
                return


def _possible(ledger: Ledger, order: Order, jobs: list[Job]) -> list[Job]:
    verdicts = ledger.verdicts(jobs)
    return [job for job in jobs if decide.may(order.act, job, verdicts[job.id].verdict if job.id in verdicts else None)]


async def _form(request: Request) -> Form:
    """Read a form; its names and values are text, whatever else it may hold is refused."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise HTTPException(415, "Only a form of this page is understood.")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BYTES:
            raise HTTPException(413, "That is more than a form of this page says.")
    try:
        return parse_qs(body.decode("utf-8"), keep_blank_values=True, strict_parsing=True, max_num_fields=25_000)
    except ValueError as error:
        raise HTTPException(400, "This is no form of this page.") from error
