"""
Orders to misbehave: which request goes wrong, and how.

An order picks requests by file name, by count or by share. Those that replace the
answer come before every check; those that spoil a good answer come after it was
paid for. This module picks and describes; the faces carry out.
"""

import fnmatch
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum

from rembg_watch.sandbox.exchange import Breakage, Mishap, OrderError, Orders, Reply, error_reply
from rembg_watch.sandbox.rules import DAILY_LIMIT, INVALID_KEY, MONTHLY_LIMIT, TOO_QUICK, UNVERIFIED_EMAIL


class FaultKind(StrEnum):
    """What can be ordered."""

    STATUS = "status"  # an error with JSON, 503 unless another status is asked for
    HTML = "html"  # a proxy's page, 502 unless another status is asked for
    TOO_QUICK = "too_quick"
    DAILY = "daily"
    MONTHLY = "monthly"
    UNKNOWN_429 = "unknown_429"
    BAD_KEY = "bad_key"
    UNVERIFIED = "unverified"
    REDIRECT = "redirect"  # 307 to ``location``
    RESET_BEFORE = "reset_before"  # the connection is reset while the picture is still arriving; not billed
    LATENCY = "latency"  # later by ``seconds``; other orders still apply
    EMPTY = "empty"  # 200 without a byte; billed, like all that follow
    GARBAGE = "garbage"  # 200 with noise
    JSON = "json"  # 200 with an error in JSON
    TRUNCATED = "truncated"  # ``share`` of the picture, then closed against its Content-Length
    CUT_PICTURE = "cut_picture"  # ``share`` of the picture as if that were all
    RESET_AFTER = "reset_after"  # reset after ``share`` of the answer
    STALL = "stall"  # ``share`` of the answer, then silence for ``seconds``
    DRIP = "drip"  # the answer in slices over ``seconds``
    WRONG_SIZE = "wrong_size"  # 460 pixels at the most, whatever was asked for
    WRONG_FORMAT = "wrong_format"  # a valid picture of another format


SPOILERS = frozenset(list(FaultKind)[list(FaultKind).index(FaultKind.EMPTY) :])
"""What is done to a good, paid answer; everything else replaces it."""

UNKNOWN_429_WORDS = "Service is busy, try again later."

_HTML = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n"
    b"<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
_GARBAGE = bytes((i * 197 + 91) % 256 for i in range(4096))
_WORDS: dict[FaultKind, tuple[int, str]] = {
    FaultKind.TOO_QUICK: (429, TOO_QUICK),
    FaultKind.DAILY: (429, DAILY_LIMIT),
    FaultKind.MONTHLY: (429, MONTHLY_LIMIT),
    FaultKind.UNKNOWN_429: (429, UNKNOWN_429_WORDS),
    FaultKind.BAD_KEY: (401, INVALID_KEY),
    FaultKind.UNVERIFIED: (403, UNVERIFIED_EMAIL),
}
_SHARES = {FaultKind.TRUNCATED: 0.5, FaultKind.CUT_PICTURE: 0.5, FaultKind.RESET_BEFORE: 0.5, FaultKind.STALL: 0.0}
_SECONDS = {FaultKind.STALL: 3600.0, FaultKind.DRIP: 5.0, FaultKind.LATENCY: 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One order. Left-out measures have a default that fits the kind."""

    kind: FaultKind
    route: str = "/rmbg"
    file: str | None = None  # a pattern such as ``IMG_*.jpg``, for the file name
    count: int | None = None  # the next so many; None: for ever
    share: float | None = None  # of those that match, 0 to 1
    skip: int = 0  # let so many that match pass first
    status: int | None = None
    part: float | None = None  # how much of the body goes through before it breaks
    seconds: float | None = None
    retry_after_s: int | None = None
    location: str = "https://elsewhere.invalid/rmbg"
    billed: bool | None = None  # None: as the kind has it
    early: bool = False  # on loopback: answer while the picture is still arriving, as a proxy may

    @property
    def is_billed(self) -> bool:
        """Whether a request that meets this fault is paid for."""
        return self.kind in SPOILERS if self.billed is None else self.billed

    @property
    def comes_after(self) -> bool:
        """Whether the request is checked, paid and worked on before the fault strikes."""
        return self.kind in SPOILERS or self.is_billed

    @property
    def delay_s(self) -> float:
        """How much later the answer comes because of this order alone."""
        return self._seconds if self.kind is FaultKind.LATENCY else 0.0

    @property
    def _seconds(self) -> float:
        return _SECONDS.get(self.kind, 0.0) if self.seconds is None else self.seconds

    @property
    def _part(self) -> float:
        return _SHARES.get(self.kind, 0.0) if self.part is None else self.part

    def replacement(self) -> Reply | None:
        """Return the answer that takes the place of the right one; None where the right one is only spoiled."""
        headers = {} if self.retry_after_s is None else {"retry-after": str(self.retry_after_s)}
        if self.kind in _WORDS:
            status, words = _WORDS[self.kind]
            return error_reply(self.status or status, words, headers=headers)
        if self.kind is FaultKind.STATUS:
            return error_reply(self.status or 503, "Internal server error", headers=headers)
        if self.kind is FaultKind.HTML:
            return Reply(status=self.status or 502, headers={"content-type": "text/html", **headers}, body=_HTML)
        if self.kind is FaultKind.REDIRECT:
            return Reply(status=self.status or 307, headers={"location": self.location})
        if self.kind is FaultKind.RESET_BEFORE:
            return Reply(status=0, breakage=self.breakage())
        return None

    def breakage(self) -> Breakage | None:
        """Return the mishap that the connection meets, if any."""
        mishaps = {
            FaultKind.RESET_BEFORE: Mishap.RESET if self.is_billed else Mishap.CUT_UPLOAD,
            FaultKind.RESET_AFTER: Mishap.RESET,
            FaultKind.TRUNCATED: Mishap.CUT,
            FaultKind.STALL: Mishap.STALL,
            FaultKind.DRIP: Mishap.DRIP,
        }
        if self.kind not in mishaps:
            return None
        return Breakage(mishap=mishaps[self.kind], share=self._part, seconds=self._seconds)

    def spoil(self, reply: Reply) -> Reply:
        """Return what becomes of a good *reply*; a wrong size or format is the picture maker's work."""
        body = {
            FaultKind.EMPTY: b"",
            FaultKind.GARBAGE: _GARBAGE,
            FaultKind.JSON: b'{"error": "Internal server error", "status": 500}',
            FaultKind.CUT_PICTURE: reply.body[: int(len(reply.body) * self._part)],
        }.get(self.kind, reply.body)
        return self.replacement() or replace(reply, body=body, breakage=self.breakage())


@dataclass(slots=True)
class _Standing:
    """An order with what is left of it."""

    fault: Fault
    left: int | None
    skip: int

    def strikes(self, route: str, filename: str | None, chance: float) -> bool:
        fault = self.fault
        if self.left == 0 or fault.route != route:
            return False
        if fault.file is not None and not fnmatch.fnmatchcase(filename or "", fault.file):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if fault.share is not None and chance >= fault.share:
            return False
        self.left = None if self.left is None else self.left - 1
        return True


class FaultOrders:
    """The orders that stand, asked in the order in which they were given; the first that strikes is the one."""

    def __init__(self) -> None:
        self._standing: list[_Standing] = []

    def add(self, fault: Fault) -> None:
        """Let *fault* stand behind those already ordered."""
        self._standing.append(_Standing(fault, fault.count, fault.skip))

    def clear(self) -> None:
        """Take every order back."""
        self._standing.clear()

    def standing(self) -> list[tuple[Fault, int | None]]:
        """Return each order that can still strike, with how often."""
        return [(s.fault, s.left) for s in self._standing if s.left != 0]

    def before(self, route: str, filename: str | None, chance: float) -> Orders:
        """Draw what replaces the answer of a request, and how much later it comes."""
        delay_s, names = 0.0, []
        for standing in self._standing:
            fault = standing.fault
            if fault.comes_after or not standing.strikes(route, filename, chance):
                continue
            names.append(fault.kind.value)
            if fault.kind is FaultKind.LATENCY:
                delay_s += fault.delay_s
                continue
            reply = fault.replacement()
            return Orders(
                refusal=reply, breakage=fault.breakage(), delay_s=delay_s, names=tuple(names), is_early=fault.early
            )
        return Orders(delay_s=delay_s, names=tuple(names))

    def after(self, route: str, filename: str | None, chance: float) -> Fault | None:
        """Draw what befalls a good, paid answer."""
        for standing in self._standing:
            if standing.fault.comes_after and standing.strikes(route, filename, chance):
                return standing.fault
        return None


_FIELDS = {f.name for f in fields(Fault)}


def fault_from(values: Mapping[str, object]) -> Fault:
    """
    Read an order from names and values, as JSON or a command line brings them.

    Raises:
        OrderError: with a sentence that names what is wrong.
    """
    unknown = sorted(set(values) - _FIELDS)
    if unknown:
        raise OrderError(f"a fault has no '{unknown[0]}'; it has {', '.join(sorted(_FIELDS))}")
    kinds = ", ".join(FaultKind)
    if values.get("kind") not in list(FaultKind):
        raise OrderError(f"'{values.get('kind')}' is no kind of fault; there are {kinds}")
    return Fault(**{name: _READERS[name](name, value) for name, value in values.items()})  # type: ignore[arg-type]


def parse_fault(text: str) -> Fault:
    """
    Read an order as a person writes it: ``KIND[:name=value,...]``, such as ``status:status=500,file=*_a.jpg,count=3``.

    Raises:
        OrderError: with a sentence that names what is wrong.
    """
    kind, _, rest = text.partition(":")
    values: dict[str, object] = {"kind": kind.strip()}
    for pair in filter(None, (p.strip() for p in rest.split(","))):
        name, sign, value = pair.partition("=")
        if not sign:
            raise OrderError(f"'{pair}' is no name=value")
        values[name.strip()] = value.strip()
    return fault_from(values)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise OrderError(f"'{name}' must be text, got: {value!r}")
    return value


def _whole(name: str, value: object) -> int | None:
    return None if value is None else int(_number(name, value))


def _real(name: str, value: object) -> float | None:
    return None if value is None else _number(name, value)


def _number(name: str, value: object) -> float:
    try:
        number = float(str(value))
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e9:
        raise OrderError(f"'{name}' must be a number of 0 or more, got: {value!r}")
    return number


def _flag(name: str, value: object) -> bool | None:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False, "none": None}
    word = str(value).lower()
    if word not in words:
        raise OrderError(f"'{name}' must be true or false, got: {value!r}")
    return words[word]


_READERS: dict[str, Callable[[str, object], object]] = {
    "kind": lambda _, value: FaultKind(str(value)),
    "route": _text,
    "file": lambda name, value: None if value is None else _text(name, value),
    "count": _whole,
    "share": _real,
    "skip": lambda name, value: _whole(name, value) or 0,
    "status": _whole,
    "part": _real,
    "seconds": _real,
    "retry_after_s": _whole,
    "location": _text,
    "billed": _flag,
    "early": lambda name, value: bool(_flag(name, value)),
}
