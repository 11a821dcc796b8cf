"""
The sandbox's own routes under ``/sandbox/``: look at its books, change its settings.

They are no part of the API that is emulated. Settings are taken as JSON only, so
that a web page elsewhere cannot change them.
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

from rembg_watch.sandbox.account import Limit, limit_from
from rembg_watch.sandbox.emulator import Emulator
from rembg_watch.sandbox.exchange import OrderError, Reply, Request, error_reply, json_reply
from rembg_watch.sandbox.faults import Fault, fault_from, parse_fault

METHODS = {
    "/sandbox/state": "GET",
    "/sandbox/settings": "POST",
    "/sandbox/requests": "GET",
    "/sandbox/samples": "GET",
}
SAMPLES = "/sandbox/samples/"
MAX_SHIFT_S = 50 * 365 * 86_400.0


def respond(sandbox: Emulator, request: Request) -> Reply | None:
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


def state(sandbox: Emulator) -> dict[str, object]:
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


def _requests(sandbox: Emulator, query: dict[str, str]) -> dict[str, object]:
    since = _asked(query, "since", 0)
    with sandbox.lock:
        records = [r for r in sandbox.requests if r.number > since]
    limit = _asked(query, "limit", 1000)
    rows = [{**asdict(r), "at": r.at.isoformat(), "params": dict(r.params)} for r in records[-limit:]]
    return {"requests": rows if limit else []}


def _asked(query: dict[str, str], name: str, otherwise: int) -> int:
    text = query.get(name, "")
    return int(text) if re.fullmatch("[0-9]{1,15}", text) else otherwise


def _settings(sandbox: Emulator, request: Request) -> Reply:
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


Change = Callable[[Emulator], object]
Setter = Callable[[Emulator, Any], object]


def _read_changes(wanted: object) -> list[Change]:
    if not isinstance(wanted, dict):
        raise OrderError("settings are one JSON object")
    return [_change(str(name), value) for name, value in wanted.items()]


def _change(name: str, value: object) -> Change:
    """Read one setting now, so that a mistake in the last one leaves the first undone."""
    if name not in _CHANGES:
        raise OrderError(f"there is no setting '{name}'; there are {', '.join(sorted(_CHANGES))}")
    read, set_ = _CHANGES[name]
    wanted = read(name, value)
    return lambda sandbox: set_(sandbox, wanted)


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


def _rate(_: str, value: object) -> Limit | None:
    return limit_from("" if value is None else str(value))


def _faults(_: str, value: object) -> list[Fault]:
    if not isinstance(value, list):
        raise OrderError("'faults' must be a list of orders")
    return [fault_from(order) if isinstance(order, dict) else parse_fault(str(order)) for order in value]


def _unknown_key(_: str, value: object) -> object:
    if value not in ("refuse", "anonymous"):
        raise OrderError("'unknown_key' must be refuse or anonymous")
    return value


def _order(sandbox: Emulator, faults: Iterable[Fault]) -> None:
    sandbox.clear_faults()
    for fault in faults:
        sandbox.add_fault(fault)


def _of_account(attribute: str) -> Setter:
    return lambda sandbox, wanted: setattr(sandbox.account, attribute, wanted)


def _of_sandbox(attribute: str) -> Setter:
    return lambda sandbox, wanted: setattr(sandbox, attribute, wanted)


def _if_wanted(change: Change) -> Setter:
    return lambda sandbox, is_wanted: change(sandbox) if is_wanted else None


_CHANGES: dict[str, tuple[Callable[[str, object], object], Setter]] = {
    "credits": (_whole, _of_account("included")),
    "prepaid": (_whole, _of_account("prepaid")),
    "price": (_whole, _of_account("price")),
    "is_synced": (_flag, _of_account("is_synced")),
    "is_verified": (_flag, _of_account("is_verified")),
    "is_down": (_flag, _of_sandbox("is_down")),
    "latency_s": (_real, _of_sandbox("latency_s")),
    "rate": (_rate, _of_sandbox("rate")),
    "faults": (_faults, _order),
    "shift_s": (_real, lambda sandbox, seconds: sandbox.shift_clock(seconds=seconds)),
    "new_period": (_flag, _if_wanted(Emulator.start_new_period)),
    "reset": (_flag, _if_wanted(Emulator.reset_log)),
    "use_app": (_whole, Emulator.use_app),
    "unknown_key": (_unknown_key, _of_sandbox("unknown_key")),
    "daily_limit": (_whole, lambda sandbox, limit: setattr(sandbox.anonymous, "per_day", limit)),
}
"""How each setting is read, and what is done with it then."""
