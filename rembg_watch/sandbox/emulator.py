"""
The sandbox itself: one object that answers requests as the vendor's servers would.

It joins rules, account, faults and cut-outs, keeps the books and the log of requests,
and holds the one lock. It opens no socket; the faces do.
"""

import base64
import itertools
import random
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from rembg_watch.sandbox import rules
from rembg_watch.sandbox.account import Account, BadQueryError, Charge, DailyQuota, Limit, Usage, limit_from
from rembg_watch.sandbox.exchange import Orders, Reply, Request, error_reply, json_reply
from rembg_watch.sandbox.faults import Fault, FaultKind, FaultOrders, parse_fault
from rembg_watch.sandbox.render import Cutter, UndecodableError
from rembg_watch.sandbox.rules import Problem

LOG_LENGTH = 20_000
LOGGED_CHARACTERS = 500  # of a text, so that nobody fills the memory with it
RMBG = "/rmbg"
USAGE = "/api/membership-usage"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """What is remembered of one request."""

    number: int
    at: datetime
    method: str
    path: str
    status: int  # 0: the connection was broken instead of an answer
    filename: str | None = None
    sha256: str | None = None  # of the picture as it arrived
    size_bytes: int = 0
    params: tuple[tuple[str, str], ...] = ()
    key: str = "none"  # known, unknown or none: never the key itself
    billed: int = 0  # credits
    fault: str | None = None
    error: str | None = None


class Emulator:
    """
    The API emulated.

    Args:
        credits: Included credits of the plan, per period; *prepaid* ones do not come back.
        price: Credits for one picture.
        rate: Short-term limit: a number of requests a second, a phrase for ``limit_from``, a ``Limit``, or None.
        latency_s: How long each ``/rmbg`` answer takes at the least.
        engine: ``u2net``, ``fast`` or ``flat``; see ``cutout``.
        clock: Tells the present moment; limits and periods follow it.
        is_synced: Whether billing windows follow the subscription or the UTC calendar month.
        daily_limit: Pictures a day for callers without a key.
        unknown_key: ``refuse`` with 401, or ``anonymous``: treat as a caller without a key.
        seed: Of the chance in faults that strike a share of the requests.
        is_upright: Whether the orientation tag of a picture is applied.
        answers_base64: Whether ``return_base64=true`` is answered with base64 text. The vendor's own client
            encodes the answer itself, so that by default the flag is taken and the picture's bytes come.
        has_retry_after: Whether short-term refusals carry ``Retry-After``.
    """

    def __init__(
        self,
        key: str = "sandbox-key",
        *,
        credits: int = 500,  # noqa: A002  # the word of the API
        prepaid: int = 0,
        price: int = 1,
        rate: float | str | Limit | None = None,
        latency_s: float = 0.0,
        engine: str = "u2net",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        is_synced: bool = True,
        is_verified: bool = True,
        membership: str = "Premium-20000",
        daily_limit: int = 5,
        unknown_key: str = "refuse",
        faults: Iterable[Fault | str] = (),
        seed: int = 0,
        is_upright: bool = True,
        answers_base64: bool = False,
        has_retry_after: bool = False,
    ) -> None:
        self.key = key
        self.latency_s = latency_s
        self.unknown_key = unknown_key
        self.answers_base64 = answers_base64
        self.has_retry_after = has_retry_after
        self.is_down = False  # True: every connection is refused or reset
        self.cutter = Cutter(engine, is_upright=is_upright)
        self.anonymous = DailyQuota(daily_limit)
        self._clock = clock
        self._shift = timedelta()
        self.account = Account(
            included=credits,
            prepaid=prepaid,
            price=price,
            anchor=clock() - timedelta(days=9),
            membership=membership,
            is_synced=is_synced,
            is_verified=is_verified,
        )
        self._seed = seed
        self.lock = threading.RLock()
        self.orders = FaultOrders()
        for fault in faults:
            self.add_fault(fault)
        self.rate = rate
        self.reset_log()

    def reset_log(self) -> None:
        """Forget every request and start all counters at zero; the account stays as it is."""
        with self.lock:
            self.requests: deque[RequestRecord] = deque(maxlen=LOG_LENGTH)
            self.billed = 0  # pictures that were paid for
            self.billed_credits = 0
            self.billed_pictures: Counter[str] = Counter()  # by SHA-256 of the picture
            self.statuses: Counter[tuple[str, int]] = Counter()  # by path and status
            self.in_flight = 0
            self.most_in_flight = 0
            self._numbers = itertools.count(1)
            self._random = random.Random(self._seed)

    # -- settings -----------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """Tell the sandbox's present moment: the clock's, shifted to order."""
        return self._clock() + self._shift

    def shift_clock(self, *, seconds: float) -> None:
        """Let time jump."""
        self._shift += timedelta(seconds=seconds)

    def start_new_period(self) -> None:
        """Jump to the first second of the next billing window."""
        end = self.account.window(self.now).end + 1
        self.shift_clock(seconds=end - self.now.timestamp())

    @property
    def rate(self) -> Limit | None:
        """The short-term limit that is enforced."""
        return self._rate

    @rate.setter
    def rate(self, rate: float | str | Limit | None) -> None:
        self._rate = limit_from(str(rate)) if isinstance(rate, int | float | str) else rate

    @property
    def spendable(self) -> int:
        """What the account can spend now."""
        with self.lock:
            return self.account.spendable(self.now)

    def add_fault(self, fault: Fault | str, **measures: object) -> None:
        """Order a fault: a ``Fault``, a phrase for ``parse_fault``, or a kind with its measures by name."""
        if isinstance(fault, str):
            fault = Fault(kind=FaultKind(fault), **measures) if measures else parse_fault(fault)  # type: ignore[arg-type]
        with self.lock:
            self.orders.add(fault)

    def clear_faults(self) -> None:
        """Take every order back."""
        with self.lock:
            self.orders.clear()

    def use_app(self, pictures: int) -> None:
        """Spend credits as the web editor does."""
        with self.lock:
            self.account.charge(self.now, credits_wanted=pictures * self.account.price, is_app=True)

    def add_past_period(self, *, months_ago: int, app: int, api: int) -> None:
        """Give the account a billing window of the past with its usage."""
        with self.lock:
            start = self.account.window(self.now).start
            for _ in range(months_ago):
                start = self.account.window(datetime.fromtimestamp(start - 1, UTC)).start
            self.account.cycles[start] = Usage(app=app, api=api)

    # -- requests -----------------------------------------------------------------------------------

    @contextmanager
    def attending(self) -> Iterator[None]:
        """Count a removal as in flight from its first byte to the last byte of its answer."""
        with self.lock:
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            yield
        finally:
            with self.lock:
                self.in_flight = max(0, self.in_flight - 1)

    def draw(self, path: str, filename: str | None) -> Orders:
        """Draw the faults of a request; once, as soon as the name of its file is known."""
        with self.lock:
            return self.orders.before(path, filename, self._random.random())

    def respond(self, request: Request) -> Reply:
        """Answer one request; the bill and the log are written before this returns."""
        if (request.method, request.path) not in {("POST", RMBG), ("GET", USAGE)}:
            return self.respond_beside(request)
        orders = request.orders or self.draw(request.path, request.image.filename if request.image else None)
        if orders.refusal is not None:
            self._note(request, orders.refusal, fault=orders.names[-1])
            return replace(orders.refusal, delay_s=orders.delay_s, breakage=orders.breakage)
        if request.path == USAGE:
            return _membership_usage(self, request, orders)
        return self._remove(replace(request, orders=orders), orders)

    def respond_beside(self, request: Request) -> Reply:
        """Answer what is no request to the API."""
        del request
        return error_reply(404, "Not found")

    def _remove(self, request: Request, orders: Orders) -> Reply:
        delay_s = self.latency_s + orders.delay_s
        wish, problems = rules.read_wish(request.fields)
        problems = rules.check_image(request.image) + problems
        with self.lock:
            admitted = self._admit(request, problems)
        if isinstance(admitted, Reply):
            self._note(request, admitted)
            return replace(admitted, delay_s=orders.delay_s)
        return replace(self._paid(request, wish, admitted), delay_s=delay_s)

    def _admit(self, request: Request, problems: list[Problem]) -> Charge | DailyQuota | Reply:
        """Ask everything that can refuse a request, in the documented order, and take the money."""
        refusal = _refuse_credentials(self, request.headers)
        if refusal is not None:
            return refusal
        if self._rate is not None and not self._rate.admits(self.now.timestamp()):
            advice = {"retry-after": "1"} if self.has_retry_after else {}
            return error_reply(429, rules.TOO_QUICK, headers=advice)
        is_known = request.headers.get("x-api-key") == self.key
        payment = self.account.charge(self.now) if is_known else self.anonymous.take(self.now)
        if not payment:
            return error_reply(429, rules.MONTHLY_LIMIT if is_known else rules.DAILY_LIMIT)
        charge = self.anonymous if isinstance(payment, bool) else payment
        if problems:
            _give_back(self, charge)
            return rules.refusal(problems)
        return charge

    def _paid(self, request: Request, wish: rules.Wish, charge: Charge | DailyQuota) -> Reply:
        """Work on a picture that is paid for; the money goes back where it turns out to be none."""
        image = request.image
        assert image is not None
        with self.lock:
            fault = self.orders.after(RMBG, image.filename, self._random.random())
        made, is_downgraded = _spoiled_wish(wish, fault)
        try:
            body = self.cutter.cut(image.file, made, sha256=image.sha256, is_downgraded=is_downgraded)
        except UndecodableError:
            return _free(self, request, error_reply(400, rules.UNDECODABLE), charge)
        reply = _picture_reply(self, body, made)
        if fault is None:
            self._note(request, reply, charge=charge)
            return reply
        reply = fault.spoil(reply)
        if not fault.is_billed:
            return _free(self, request, reply, charge, fault=fault.kind)
        self._note(request, reply, charge=charge, fault=fault.kind)
        return reply

    def _note(
        self, request: Request, reply: Reply, *, fault: str | None = None, charge: Charge | DailyQuota | None = None
    ) -> None:
        """Write one request into the log and the counters; *charge* is what was paid for it and kept."""
        image = request.image
        key = request.headers.get("x-api-key")
        params = request.fields.items() or request.query
        delays = request.orders.names if request.orders else ()
        record = RequestRecord(
            number=next(self._numbers),
            at=self.now,
            method=request.method,
            path=request.path,
            status=reply.status,
            filename=image.filename[:LOGGED_CHARACTERS] if image else None,
            sha256=image.sha256 if image else None,
            size_bytes=image.size_bytes if image else 0,
            params=tuple((name[:LOGGED_CHARACTERS], value[:LOGGED_CHARACTERS]) for name, value in params),
            key="none" if not key else "known" if key == self.key else "unknown",
            billed=charge.included + charge.prepaid if isinstance(charge, Charge) else 0,
            fault=fault or (delays[-1] if delays else None),
            error=reply.body.decode("utf-8", "replace")[:LOGGED_CHARACTERS] if reply.status >= 400 else None,
        )
        with self.lock:
            self.requests.append(record)
            self.statuses[request.path, reply.status] += 1
            if charge is not None and record.sha256:
                self.billed += 1
                self.billed_credits += record.billed
                self.billed_pictures[record.sha256] += 1


def _refuse_credentials(sandbox: Emulator, headers: Mapping[str, str]) -> Reply | None:
    if rules.has_two_credentials(headers):
        return error_reply(400, rules.TWO_CREDENTIALS)
    if not headers.get("x-api-key"):
        return None
    if headers["x-api-key"] != sandbox.key:
        return None if sandbox.unknown_key == "anonymous" else error_reply(401, rules.INVALID_KEY)
    return None if sandbox.account.is_verified else error_reply(403, rules.UNVERIFIED_EMAIL)


def _picture_reply(sandbox: Emulator, body: bytes, wish: rules.Wish) -> Reply:
    if wish.return_base64 and sandbox.answers_base64:
        return Reply(status=200, headers={"content-type": "text/plain"}, body=base64.b64encode(body))
    return Reply(status=200, headers={"content-type": f"image/{wish.format.lower()}"}, body=body)


def _give_back(sandbox: Emulator, charge: Charge | DailyQuota) -> None:
    if isinstance(charge, Charge):
        sandbox.account.refund(charge)
    else:
        charge.give_back()


def _usage_reply(sandbox: Emulator, request: Request) -> Reply:
    if rules.has_two_credentials(request.headers):
        return error_reply(400, rules.TWO_CREDENTIALS)
    if request.headers.get("x-api-key") != sandbox.key:
        return error_reply(401, rules.INVALID_KEY)
    try:
        with sandbox.lock:
            return json_reply(200, sandbox.account.membership_usage(dict(request.query), sandbox.now))
    except BadQueryError as error:
        return rules.refusal([Problem(field, message) for field, message in error.problems])


def _free(
    sandbox: Emulator, request: Request, reply: Reply, charge: Charge | DailyQuota, *, fault: str | None = None
) -> Reply:
    """Give the money back and answer all the same."""
    with sandbox.lock:
        _give_back(sandbox, charge)
    sandbox._note(request, reply, fault=fault)
    return reply


def _membership_usage(sandbox: Emulator, request: Request, orders: Orders) -> Reply:
    reply = _usage_reply(sandbox, request)
    with sandbox.lock:
        fault = sandbox.orders.after(USAGE, None, sandbox._random.random())
    reply = fault.spoil(reply) if fault else reply
    sandbox._note(request, reply, fault=fault.kind if fault else None)
    return replace(reply, delay_s=orders.delay_s)


def _spoiled_wish(wish: rules.Wish, fault: Fault | None) -> tuple[rules.Wish, bool]:
    """Return what is made instead of what was wished for, and whether it becomes a thumbnail."""
    if fault is not None and fault.kind is FaultKind.WRONG_FORMAT:
        return replace(wish, format="PNG" if wish.format != "PNG" else "JPEG"), False
    return wish, fault is not None and fault.kind is FaultKind.WRONG_SIZE
