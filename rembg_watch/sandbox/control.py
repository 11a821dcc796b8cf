"""
The sandbox's own routes under ``/sandbox/``: look at its books, change its settings.

They are no part of the API that is emulated. Settings are taken as JSON only, so
that a web page elsewhere cannot change them.
"""

import json
import re
from collections.abc import Callable
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from rembg_watch.sandbox.account import limit_from
from rembg_watch.sandbox.exchange import OrderError, Reply, Request, error_reply, json_reply
from rembg_watch.sandbox.faults import Fault, fault_from, parse_fault

if TYPE_CHECKING:
    from rembg_watch.sandbox.emulator import Emulator

METHODS = {
    "/sandbox/state": "GET",
    "/sandbox/settings": "POST",
    "/sandbox/requests": "GET",
    "/sandbox/samples": "GET",
}
SAMPLES = "/sandbox/samples/"
MAX_SHIFT_S = 50 * 365 * 86_400.0


def respond(sandbox: "Emulator", request: Request) -> Reply | None:
    """Answer a control request; None where the path is not one of these."""
    match request.method, request.path:
        case "GET", "/sandbox/state":
            return json_reply(200, state(sandbox))
        case "GET", "/sandbox/requests":
            return json_reply(200, _requests(sandbox, dict(request.query)))
        case "POST", "/sandbox/settings":
            return _settings(sandbox, request)
        case "GET", "/sandbox/samples":
            return json_reply(200, {"samples": sorted(_samples())})
    if request.method == "GET" and request.path.startswith(SAMPLES):
        return _sample(request.path.removeprefix(SAMPLES))
    return None


def _samples() -> dict[str, Path]:
    """Return the sample pictures of the package by their path below ``samples/demo``."""
    root = Path(str(resources.files("rembg_watch.sandbox") / "samples" / "demo"))
    return {path.relative_to(root).as_posix(): path for path in root.rglob("*.*")}


def _sample(name: str) -> Reply | None:
    path = _samples().get(name)  # looked up, never joined: no name leads out of the folder
    if path is None:
        return None
    kind = {"jpg": "jpeg"}.get(path.suffix[1:], path.suffix[1:])
    return Reply(status=200, headers={"content-type": f"image/{kind}"}, body=path.read_bytes())


def state(sandbox: "Emulator") -> dict[str, object]:
    """Tell the books: what was asked, answered, billed and what stands."""
    with sandbox.lock:
        account = sandbox.account
        window = account.window(sandbox.now)
        return {
            "now": sandbox.now.isoformat(),
            "engine": sandbox.cutter.engine,
            "latency_s": sandbox.latency_s,
            "is_down": sandbox.is_down,
            "credits": account.included,
            "prepaid": account.prepaid,
            "price": account.price,
            "spendable": account.spendable(sandbox.now),
            "is_synced": account.is_synced,
            "is_verified": account.is_verified,
            "period": {"start": window.start, "end": window.end},
            "billed": sandbox.billed,
            "billed_credits": sandbox.billed_credits,
            "billed_twice": sum(count - 1 for count in sandbox.billed_pictures.values()),
            "in_flight": sandbox.in_flight,
            "most_in_flight": sandbox.most_in_flight,
            "statuses": {f"{path} {status}": n for (path, status), n in sorted(sandbox.statuses.items())},
            "faults": [{**asdict(fault), "left": left} for fault, left in sandbox.orders.standing()],
        }


def _requests(sandbox: "Emulator", query: dict[str, str]) -> dict[str, object]:
    since = _asked(query, "since", 0)
    with sandbox.lock:
        records = [r for r in sandbox.requests if r.number > since]
    limit = _asked(query, "limit", 1000)
    rows = [{**asdict(r), "at": r.at.isoformat(), "params": dict(r.params)} for r in records[-limit:]]
    return {"requests": rows if limit else []}


def _asked(query: dict[str, str], name: str, otherwise: int) -> int:
    text = query.get(name, "")
    return int(text) if re.fullmatch("[0-9]{1,15}", text) else otherwise


def _settings(sandbox: "Emulator", request: Request) -> Reply:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return error_reply(415, "Settings are taken as application/json")
    try:
        changes = _read_changes(json.loads(request.body or b"{}"))
    except (ValueError, RecursionError) as error:
        return error_reply(400, str(error))
    with sandbox.lock:
        for change in changes:
            change(sandbox)
    return json_reply(200, state(sandbox))


Change = Callable[["Emulator"], None]


def _read_changes(wanted: object) -> list[Change]:
    if not isinstance(wanted, dict):
        raise OrderError("settings are one JSON object")
    return [_change(str(name), value) for name, value in wanted.items()]


def _change(name: str, value: object) -> Change:
    """Read one setting now, so that a mistake in the last one leaves the first undone."""
    if name not in _CHANGES:
        raise OrderError(f"there is no setting '{name}'; there are {', '.join(sorted(_CHANGES))}")
    return _CHANGES[name](name, value)


def _account(attribute: str) -> Callable[[str, object], Change]:
    def read(name: str, value: object) -> Change:
        amount = _whole(name, value)
        return lambda sandbox: setattr(sandbox.account, attribute, amount)

    return read


def _account_flag(name: str, value: object) -> Change:
    wanted = _flag(name, value)
    return lambda sandbox: setattr(sandbox.account, name, wanted)


def _is_down(name: str, value: object) -> Change:
    wanted = _flag(name, value)
    return lambda sandbox: setattr(sandbox, "is_down", wanted)


def _latency(name: str, value: object) -> Change:
    seconds = _real(name, value)
    return lambda sandbox: setattr(sandbox, "latency_s", seconds)


def _rate(_: str, value: object) -> Change:
    limit = limit_from("" if value is None else str(value))
    return lambda sandbox: setattr(sandbox, "rate", limit)


def _faults(_: str, value: object) -> Change:
    if not isinstance(value, list):
        raise OrderError("'faults' must be a list of orders")
    faults: list[Fault] = [_fault(f) for f in value]

    def apply(sandbox: "Emulator") -> None:
        sandbox.clear_faults()
        for fault in faults:
            sandbox.add_fault(fault)

    return apply


def _fault(order: object) -> Fault:
    if isinstance(order, dict):
        return fault_from(order)
    return parse_fault(str(order))


def _shift(name: str, value: object) -> Change:
    seconds = _real(name, value)
    return lambda sandbox: sandbox.shift_clock(seconds=seconds)


def _new_period(name: str, value: object) -> Change:
    return (lambda sandbox: sandbox.start_new_period()) if _flag(name, value) else (lambda _: None)


def _reset(name: str, value: object) -> Change:
    return (lambda sandbox: sandbox.reset_log()) if _flag(name, value) else (lambda _: None)


def _app_usage(name: str, value: object) -> Change:
    pictures = _whole(name, value)
    return lambda sandbox: sandbox.use_app(pictures)


def _unknown_key(_: str, value: object) -> Change:
    if value not in ("refuse", "anonymous"):
        raise OrderError("'unknown_key' must be refuse or anonymous")
    return lambda sandbox: setattr(sandbox, "unknown_key", value)


def _daily_limit(name: str, value: object) -> Change:
    limit = _whole(name, value)
    return lambda sandbox: setattr(sandbox.anonymous, "per_day", limit)


_CHANGES: dict[str, Callable[[str, object], Change]] = {
    "credits": _account("included"),
    "prepaid": _account("prepaid"),
    "price": _account("price"),
    "is_synced": _account_flag,
    "is_verified": _account_flag,
    "is_down": _is_down,
    "latency_s": _latency,
    "rate": _rate,
    "faults": _faults,
    "shift_s": _shift,
    "new_period": _new_period,
    "reset": _reset,
    "use_app": _app_usage,
    "unknown_key": _unknown_key,
    "daily_limit": _daily_limit,
}


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**12:
        raise OrderError(f"'{name}' must be a whole number of 0 or more, got: {value!r}")
    return value


def _real(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_SHIFT_S:
        raise OrderError(f"'{name}' must be a number of 0 or more, got: {value!r}")
    return float(value)


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise OrderError(f"'{name}' must be true or false, got: {value!r}")
    return value
