"""
The routes: what is asked for is read, handed to the views, and written as a page or as JSON.

Handlers are plain functions that run in threads; those that make views of pictures have a few threads of their own,
so that a wall of pictures leaves the pages and the health checks alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from rembg_watch import __version__
from rembg_watch.account.views import needs_person
from rembg_watch.errors import LedgerError
from rembg_watch.jobs import Job, State
from rembg_watch.ledger import Call, Ledger, LedgerUnavailableError, Verdict
from rembg_watch.ledger.pages import FoundShoot, Shoot, Wanted, shoot_of
from rembg_watch.pictures.view import NoViewError
from rembg_watch.report.status import Liveness
from rembg_watch.report.words import WallClock
from rembg_watch.showing.pictures import SIZES, AwayError, Views
from rembg_watch.showing.places import NotThereError, places
from rembg_watch.web import answers, bills, front, openapi, views
from rembg_watch.web.acts import Acts
from rembg_watch.web.daemons import SHOWN_DAYS, Daemon
from rembg_watch.web.marks import mark_of, mark_word, start_of, start_word
from rembg_watch.web.orders import came_to
from rembg_watch.web.sheets import Sheets
from rembg_watch.web.templates import ASSETS, PAGES, STATIC, static

SHOWN = 60
"""Pictures on one page of a list."""

SHOOTS_SHOWN = 40
MOST_LISTED = 500  # of one answer of the API
_VIEW_THREADS = 6
_NEWEST = 12
_LATELY = 300  # pictures that changed last say which shoots are worked on
_SHOOTS_LATELY = 6
_ODD_AMONG = 1_500  # of the pictures that changed last, those that look odd are on the first page
_AGEING = frozenset({"/", "/pictures/{id:int}", "/credits", "/api/v1/status", "/api/v1/credits"})
"""Where "2 min ago" grows old, or a sum does, while nothing happens; other pages are another the next day."""

_KEPT = "private, max-age=31536000, immutable"


class _NotHere(HTTPException):
    def __init__(self, sentence: str = "There is no such page.") -> None:
        super().__init__(404, sentence)


@dataclass(frozen=True)
class Site:
    """What the page is made of."""

    daemons: Mapping[str, Daemon]
    views: Views
    base_path: str = ""
    may_act: bool = False
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def app(self) -> Starlette:
        """Return the routes as an application; who may ask is ``entry``'s to say."""
        inner: list[BaseRoute] = [
            Route("/livez", self._livez),
            Route("/healthz", self._healthz),
            Route("/static/{name}", self._static),
            Route("/api/openapi.json", lambda _: JSONResponse(openapi.document(list(self.daemons), self.base_path))),
        ]
        for name, daemon in self.daemons.items():
            routes = One(self, daemon, f"{self.base_path}/{name}".rstrip("/")).routes()
            inner += [Mount(f"/{name}", routes=routes)] if name else routes
        if "" not in self.daemons:
            inner.append(Route("/", self._all))
        errors = {HTTPException: self._failed, LedgerError: self._no_ledger, Exception: self._broken}
        return Starlette(routes=inner, exception_handlers=errors)  # type: ignore[arg-type]

    # --- for machines ---------------------------------------------------------------------------

    def _livez(self, _: Request) -> Response:
        return PlainTextResponse("alive")

    def _healthz(self, request: Request) -> Response:
        now = self.now()
        for daemon in self.daemons.values():
            pulse = daemon.pulse(now=now)
            if pulse is not Liveness.LIVE:
                word = "silent" if pulse is Liveness.SILENT else "not running"
                return PlainTextResponse(word, 503)
            if "strict" in request.query_params and needs_person(daemon.look(now=now).snapshot):
                return PlainTextResponse("needs a person", 503)
        return PlainTextResponse("well")

    # --- pages of all daemons -------------------------------------------------------------------

    def _all(self, request: Request) -> Response:
        clock = WallClock(self.now())
        rows = []
        for name, daemon in self.daemons.items():
            try:
                look = daemon.look(now=clock.now)
                shown = front.now_of(look.snapshot, look.alive, clock)
            except LedgerError as error:
                shown = front.Now(word="Not known", tone="bad", sentence=_begun(str(error)), details=())
            rows.append((name, shown))
        return self.page("all.html", request, "Daemons", prefix=self.base_path, rows=rows)

    def _static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in STATIC:
            raise _NotHere
        kept = _KEPT if request.query_params.get("v") == ASSETS else "no-cache"
        return Response(static(name), media_type=STATIC[name], headers={"cache-control": kept})

    def page(self, template: str, request: Request, title: str, *, prefix: str, **values: object) -> HTMLResponse:
        """Write a page."""
        several = [f"{self.base_path}/", *(f"{self.base_path}/{name}" for name in self.daemons)]
        text = PAGES.get_template(template).render(
            title=title,
            prefix=prefix,
            base=self.base_path,
            assets=ASSETS,
            version=__version__,
            path=request.url.path,
            daemons=[] if "" in self.daemons else list(self.daemons),
            is_several=len(several) > 1 and "" not in self.daemons,
            user=request.scope.get("user") or "",
            may_act=self.may_act,
            did=came_to(request.query_params.get("did", ""), request.query_params.get("n", "")),
            **values,
        )
        return HTMLResponse(text)

    # --- what went wrong ------------------------------------------------------------------------

    def _failed(self, request: Request, error: HTTPException) -> Response:
        return self._sorry(request, error.status_code, error.detail or "That did not work.")

    def _no_ledger(self, request: Request, error: LedgerError) -> Response:
        waits = "2" if isinstance(error, LedgerUnavailableError) else "10"
        answer = self._sorry(request, 503, _begun(str(error)))
        answer.headers["retry-after"] = waits
        return answer

    def _broken(self, request: Request, _: Exception) -> Response:
        return self._sorry(
            request, 500, "Something in this page is broken; its log says what. The daemon is not touched."
        )

    def _sorry(self, request: Request, status: int, sentence: str) -> Response:
        if "/api/" in request.url.path:
            return JSONResponse({"error": sentence}, status)
        name = request.url.path.removeprefix(self.base_path).strip("/").partition("/")[0]
        prefix = f"{self.base_path}/{name}" if name in self.daemons else self.base_path
        answer = self.page("sorry.html", request, "Not there" if status == 404 else "Not now", prefix=prefix,
                           sentence=sentence, is_gone=status == 404)  # fmt: skip
        answer.status_code = status
        return answer


class One:
    """The pages of one daemon."""

    def __init__(self, site: Site, daemon: Daemon, prefix: str) -> None:
        self._site = site
        self._daemon = daemon
        self._prefix = prefix
        self._places = anyio.CapacityLimiter(_VIEW_THREADS)

    def routes(self) -> list[BaseRoute]:
        """List them."""
        pages = {
            "/": self._front,
            "/shoots": self._shoots,
            "/shoots/{folder:path}/{id:int}": self._shoot,
            "/pictures": self._pictures,
            "/pictures/{id:int}": self._picture,
            "/reviewed": self._reviewed,
            "/failed": self._failed,
            "/credits": self._credits,
            "/api/v1/status": self._api_status,
            "/api/v1/jobs": self._api_jobs,
            "/api/v1/jobs/{id:int}": self._api_job,
            "/api/v1/shoots": self._api_shoots,
            "/api/v1/credits": self._api_credits,
            "/api/v1/folders": self._api_folders,
        }
        acts = Acts(self._daemon, self._page, self._prefix, self._site.now) if self._site.may_act else None
        return [
            *(acts.routes() if acts is not None else []),
            *(Route(path, partial(self._if_changed, page, path in _AGEING)) for path, page in pages.items()),
            *Sheets(self._daemon, self._site.views, self._site.now).routes(),
            Route("/pictures/{id:int}/{side}/{size}", self._view),
            Route("/credits.csv", lambda request: bills.csv(self._daemon, request, now=self._site.now())),
            Route("/metrics", self._metrics),
        ]

    def _if_changed(
        self,
        page: Callable[[Request, WallClock], Response],
        is_ageing: bool,  # noqa: FBT001 - of a route
        request: Request,
    ) -> Response:
        """Answer that nothing has changed, or else with the page: both say by which word that is asked again."""
        clock = WallClock(self._site.now())
        age = int(clock.now.timestamp()) // 60 if is_ageing else clock.now.astimezone(clock.zone).date()
        asked = (request.url.query, request.scope.get("user"))
        seen = (__version__, ASSETS, *self._daemon.stamp(now=clock.now), age, *asked)
        etag = f'"{sha256(repr(seen).encode()).hexdigest()[:24]}"'
        headers = {"etag": etag, "cache-control": "private, no-cache", "vary": "authorization"}
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        answer = page(request, clock)
        answer.headers.update(headers)
        return answer

    def _page(self, template: str, request: Request, title: str, **values: object) -> HTMLResponse:
        return self._site.page(template, request, title, prefix=self._prefix, **values)

    # --- pages ----------------------------------------------------------------------------------

    def _front(self, request: Request, clock: WallClock) -> Response:
        look, ledger = self._daemon.look(now=clock.now), self._daemon.ledger()
        today = clock.now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        days = self._daemon.days(front.PACE_DAYS, now=clock.now)
        by_folder = {one.folder: one.spending for one in days if one.day == today}
        newest = ledger.newest(limit=_NEWEST)
        names = [folder.name for folder in self._daemon.settings.folders]
        is_live = look.alive is not Liveness.GONE
        return self._page(
            "front.html",
            request,
            "Overview",
            now=front.now_of(look.snapshot, look.alive, clock),
            tiles=front.tiles(look.snapshot, ledger.spending(today), clock),
            folders=front.folder_rows(
                names, look.snapshot, ledger.counts_by_folder(), by_folder, clock, is_live=is_live
            ),
            shoots=self._shoots_lately(clock),
            reasons=[views.reason_row(one, clock) for one in self._daemon.reasons(now=clock.now)[:5]],
            odd=[
                views.picture(job, clock)
                for job in ledger.newest(Wanted(is_odd=True), limit=6, look_at=_ODD_AMONG).jobs
            ],
            notes=front.notes(look.snapshot, clock),
            balance=front.balance(look.snapshot, days, clock),
            newest=views.listed(newest.jobs, ledger.verdicts(newest.jobs), clock),
            is_paused=look.snapshot.get("paused", {}).get("all", False),
            paused_folders=look.snapshot.get("paused", {}).get("folders", ()),
        )

    def _shoots_lately(self, clock: WallClock) -> list[views.ShootRow]:
        """Show the shoots that are worked on: those of the pictures that changed last."""
        ledger = self._daemon.ledger()
        found: dict[Shoot, int] = {}
        for one in ledger.lately(limit=_LATELY):
            found.setdefault(shoot_of(one.folder, one.source, depth=self._daemon.depth(one.folder)), one.id)
        some = [FoundShoot(shoot, identity) for shoot, identity in found.items()][:_SHOOTS_LATELY]
        return [views.shoot_row(one, ledger.tally(one.shoot), clock) for one in some]

    def _shoots(self, request: Request, clock: WallClock) -> Response:
        ledger, names = self._daemon.ledger(), self._folders()
        folder = request.query_params.get("folder") or next(iter(names), "")
        page = ledger.shoots(
            folder, depth=self._daemon.depth(folder), start=start_of(request.query_params.get("from")) or b"",
            limit=SHOOTS_SHOWN,
        )  # fmt: skip
        return self._page(
            "shoots.html",
            request,
            "Shoots",
            folder=folder,
            folders=names,
            shoots=[views.shoot_row(one, ledger.tally(one.shoot), clock) for one in page.found],
            lately=self._shoots_lately(clock) if "from" not in request.query_params else [],
            next=start_word(page.next),
        )

    def _shoot(self, request: Request, clock: WallClock) -> Response:
        job = self._job(request)
        if job.folder != request.path_params["folder"]:
            raise _NotHere
        ledger, shoot = self._daemon.ledger(), self._shoot_of(job)
        chosen = request.query_params.get("state", "")
        page = ledger.members(
            shoot,
            start=start_of(request.query_params.get("from")),
            limit=SHOWN,
            wanted=Wanted(states=views.FILTERS.get(chosen, frozenset()), is_odd=chosen == "odd"),
        )
        return self._page(
            "shoot.html",
            request,
            views.shoot_name(shoot),
            shoot=views.shoot_row(FoundShoot(shoot, job.id), ledger.tally(shoot), clock),
            chosen=chosen,
            filters=views.FILTER_WORDS,
            pictures=views.listed(page.jobs, ledger.verdicts(page.jobs), clock),
            next=start_word(page.next),
        )

    def _pictures(self, request: Request, clock: WallClock) -> Response:
        asked = request.query_params
        wanted = self._wanted(request)
        ledger = self._daemon.ledger()
        page = ledger.newest(wanted, before=mark_of(asked.get("before")), limit=SHOWN)
        return self._page(
            "pictures.html",
            request,
            "Pictures",
            chosen=asked.get("state", ""),
            filters=views.FILTER_WORDS,
            folders=self._folders(),
            folder=asked.get("folder", ""),
            code=asked.get("code"),
            text=wanted.text,
            pictures=views.listed(page.jobs, ledger.verdicts(page.jobs), clock),
            next=mark_word(page.next),
            is_first="before" not in asked,
        )

    def _picture(self, request: Request, clock: WallClock) -> Response:
        job, ledger = self._job(request), self._daemon.ledger()
        shoot, folder = self._shoot_of(job), self._daemon.folder(job.folder)
        earlier, later = ledger.beside(shoot, job.source)
        facts = views.picture_facts(
            job,
            calls=_calls_of(ledger, job),
            made=ledger.made(job.id),
            folder_paths=None if folder is None else (str(folder.input), str(folder.output)),
            brand=self._brand(job.folder),
            clock=clock,
        )
        review = ledger.verdicts([job]).get(job.id)
        back = f"{self._prefix}/pictures/{later or job.id}"
        return self._page(
            "picture.html",
            request,
            facts.picture.name,
            facts=facts,
            picture=facts.picture,
            shoot=views.shoot_name(shoot),
            earlier=earlier,
            later=later,
            size="whole" if request.query_params.get("size") == "whole" else "large",
            verdict=views.verdict(review, clock) if review is not None else None,
            acts=views.acts(job, review, back=back, per_image=self._daemon.settings.credits.per_image),
        )

    def _brand(self, name: str) -> set[str]:
        """Return the colours on which the pictures of a folder are delivered."""
        settings, folder = self._daemon.settings, self._daemon.folder(name)
        if folder is None:
            return set()
        chosen = {folder.options.bg_color} if folder.options.bg_color and len(folder.options.bg_color) == 7 else set()
        made = {settings.deliverables[one].background for one in folder.deliver if one in settings.deliverables}
        return {one for one in chosen | made if one} - {"#ffffff", "#000000"}

    def _reviewed(self, request: Request, clock: WallClock) -> Response:
        asked, ledger = request.query_params, self._daemon.ledger()
        chosen = asked.get("verdict", Verdict.REJECTED)
        if chosen not in list(Verdict):
            raise _NotHere
        found = ledger.reviewed(Verdict(chosen), before=_limit(asked.get("before"), 0, most=10**8) or None, limit=SHOWN)
        jobs = [one.job for one in found]
        return self._page(
            "reviewed.html",
            request,
            chosen.capitalize(),
            chosen=chosen,
            pictures=views.listed(jobs, ledger.verdicts(jobs), clock),
            next=found[-1].number if len(found) == SHOWN else None,
        )

    def _failed(self, request: Request, clock: WallClock) -> Response:
        reasons = [views.reason_row(one, clock) for one in self._daemon.reasons(now=clock.now)]
        return self._page("failed.html", request, "Need a look", groups=views.by_folder(reasons))

    def _credits(self, request: Request, clock: WallClock) -> Response:
        look = self._daemon.look(now=clock.now)
        days = self._daemon.days(SHOWN_DAYS, now=clock.now)
        return self._page(
            "credits.html",
            request,
            "Credits",
            balance=front.balance(look.snapshot, days, clock),
            rows=front.day_rows(days),
            month=views.total_text(one.spending.charged for one in days),
            doubtful=views.total_text(one.spending.doubtful for one in days),
            notes=front.notes(look.snapshot, clock),
            shoots=self._shoots_lately(clock),
            months=front.last_months(clock.now),
        )

    # --- what pages have in common --------------------------------------------------------------

    def _job(self, request: Request) -> Job:
        number = request.path_params["id"]
        job = self._daemon.ledger().get(number) if number < 2**63 else None
        if job is None:
            raise _NotHere("There is no such picture in the ledger, or not any more.")
        return job

    def _shoot_of(self, job: Job) -> Shoot:
        return shoot_of(job.folder, job.source, depth=self._daemon.depth(job.folder))

    def _folders(self) -> list[str]:
        configured = [one.name for one in self._daemon.settings.folders]
        return list(dict.fromkeys([*configured, *sorted(self._daemon.ledger().counts_by_folder())]))

    def _wanted(self, request: Request) -> Wanted:
        asked = request.query_params
        chosen, folder = asked.get("state", ""), asked.get("folder")
        return Wanted(
            states=views.FILTERS.get(chosen, frozenset()),
            folders=frozenset({folder}) if folder else frozenset(),
            code=asked.get("code"),
            text=asked.get("q", "").strip()[:200],
            is_odd=chosen == "odd",
        )

    # --- pictures -------------------------------------------------------------------------------

    async def _view(self, request: Request) -> Response:
        return await anyio.to_thread.run_sync(self._view_now, request, limiter=self._places)

    def _view_now(self, request: Request) -> Response:
        size, side = request.path_params["size"], request.path_params["side"]
        job = self._job(request)
        folder = self._daemon.folder(job.folder)
        if size not in SIZES or folder is None:
            raise _NotHere
        settings = self._daemon.settings
        made, recipes = self._daemon.ledger().made(job.id), settings.deliverables
        where = list(places(job, folder, made, side, state_dir=settings.state_dir, recipes=recipes))
        try:
            content = self._site.views.view(where, size)
        except NotThereError as error:
            raise _NotHere("That file is not there any more.") from error
        except NoViewError as error:
            raise HTTPException(415, str(error)) from error
        except AwayError as error:
            raise HTTPException(503, "The disk or share of this picture does not answer.") from error
        except (OSError, MemoryError) as error:
            raise HTTPException(503, "It cannot be shown just now; try again in a minute.") from error
        kind = "image/webp" if content[:4] == b"RIFF" else "image/jpeg"
        kept = _KEPT if request.query_params.get("v") == str(job.revision) else "private, no-cache"
        return Response(content, media_type=kind, headers={"cache-control": kept})

    # --- for machines ---------------------------------------------------------------------------

    def _metrics(self, _: Request) -> Response:
        figures = self._daemon.metrics()
        if figures is None:
            raise _NotHere("The daemon writes no figures.")
        return Response(figures, media_type="text/plain; version=0.0.4; charset=utf-8")

    def _api_status(self, _: Request, clock: WallClock) -> Response:
        look = self._daemon.look(now=clock.now, is_summed_up=True)
        return JSONResponse(look.snapshot | {"running": look.alive is not Liveness.GONE})

    def _api_jobs(self, request: Request, _: WallClock) -> Response:
        asked = request.query_params
        states = frozenset(State(one) for one in asked.getlist("state") if one in list(State))
        wanted = Wanted(
            states=states,
            folders=frozenset(asked.getlist("folder")),
            code=asked.get("code"),
            text=asked.get("q", "")[:200],
            is_odd=asked.get("odd") in {"1", "true"},
        )
        before = mark_of(asked.get("before"))
        page = self._daemon.ledger().newest(wanted, before=before, limit=_limit(asked.get("limit"), SHOWN))
        return JSONResponse({"jobs": [answers.job(one) for one in page.jobs], "next": mark_word(page.next)})

    def _api_job(self, request: Request, _: WallClock) -> Response:
        job, ledger = self._job(request), self._daemon.ledger()
        return JSONResponse(answers.job_in_full(job, _calls_of(ledger, job), ledger.made(job.id)))

    def _api_shoots(self, request: Request, _: WallClock) -> Response:
        asked, ledger = request.query_params, self._daemon.ledger()
        folder = asked.get("folder") or next(iter(self._folders()), "")
        start = start_of(asked.get("from")) or b""
        limit = _limit(asked.get("limit"), SHOOTS_SHOWN, most=100)
        page = ledger.shoots(folder, depth=self._daemon.depth(folder), start=start, limit=limit)
        found = [answers.shoot(one.id, folder, one.shoot.path, ledger.tally(one.shoot)) for one in page.found]
        return JSONResponse({"shoots": found, "next": start_word(page.next)})

    def _api_credits(self, request: Request, clock: WallClock) -> Response:
        look = self._daemon.look(now=clock.now)
        number = _limit(request.query_params.get("days"), SHOWN_DAYS, most=366)
        days = [answers.day(one) for one in self._daemon.days(number, now=clock.now)]
        return JSONResponse({"credits": look.snapshot["credits"], "days": days})

    def _api_folders(self, _: Request, clock: WallClock) -> Response:
        counts = self._daemon.ledger().counts_by_folder()
        views_ = {one["name"]: one for one in self._daemon.look(now=clock.now).snapshot.get("folders", ())}
        found = []
        for name in self._folders():
            jobs = {state.value: counts.get(name, {}).get(state, 0) for state in State}
            found.append({"name": name, "jobs": jobs, "state": views_.get(name, {}).get("state")})
        return JSONResponse({"folders": found})


def _calls_of(ledger: Ledger, job: Job) -> list[Call]:
    """Return the calls that were made for a picture, the last one first."""
    return list(reversed(ledger.calls_of([job.id]).get(job.id, ())))


def _begun(sentence: str) -> str:
    """Begin a sentence as one does that stands alone."""
    return sentence[:1].upper() + sentence[1:]


def _limit(word: str | None, usual: int, *, most: int = MOST_LISTED) -> int:
    if word is None or not (word.isascii() and word.isdecimal() and len(word) < 9):
        return usual
    return max(1, min(most, int(word)))
