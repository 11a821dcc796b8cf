"""What ``/api/v1`` promises, as OpenAPI 3.1: written by hand, and held against the answers by the tests."""

from collections.abc import Sequence
from typing import Any

from rembg_watch import __version__
from rembg_watch.jobs import State

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
_WHOLE: Schema = {"type": "integer", "minimum": 0}
_WHOLE_OR_NULL: Schema = {"type": ["integer", "null"]}
_MOMENT: Schema = {"type": "string", "format": "date-time"}
_MOMENT_OR_NULL: Schema = {"type": ["string", "null"], "format": "date-time"}
_AMOUNT: Schema = {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"}
_STATES: Schema = {"type": "string", "enum": [state.value for state in State]}
_COUNTS: Schema = {"type": "object", "additionalProperties": _WHOLE}


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


_JOB = _object(
    id=_WHOLE,
    folder=_TEXT,
    source=_TEXT,
    source_hex={"type": "string", "pattern": "^[0-9a-f]*$"},
    size_bytes=_WHOLE,
    state=_STATES,
    target=_TEXT_OR_NULL,
    reason=_TEXT_OR_NULL,
    code=_TEXT_OR_NULL,
    field=_TEXT_OR_NULL,
    finding=_TEXT_OR_NULL,
    figures={"type": ["object", "null"], "description": "how opaque the cut-out is, as shares of 1"},
    answer_w=_WHOLE_OR_NULL,
    answer_h=_WHOLE_OR_NULL,
    attempts=_WHOLE,
    doubts=_WHOLE,
    charged=_AMOUNT,
    enqueued_at=_MOMENT,
    changed_at=_MOMENT,
    delivered_at=_MOMENT_OR_NULL,
    retry_at=_MOMENT_OR_NULL,
    request_id=_TEXT_OR_NULL,
)
_CALL = _object(
    started_at=_MOMENT,
    ended_at=_MOMENT_OR_NULL,
    charge={"type": "string", "enum": ["yes", "no", "maybe"]},
    credits=_AMOUNT,
    status=_WHOLE_OR_NULL,
    code=_TEXT_OR_NULL,
    words=_TEXT_OR_NULL,
    request_id=_TEXT_OR_NULL,
    sent_bytes=_WHOLE_OR_NULL,
    answer_bytes=_WHOLE_OR_NULL,
    follows=_TEXT,
)
_FILE = _object(
    name=_TEXT,
    state={"type": "string", "enum": ["made", "standing", "failed"]},
    target=_TEXT_OR_NULL,
    size_bytes=_WHOLE_OR_NULL,
    reason=_TEXT_OR_NULL,
    code=_TEXT_OR_NULL,
    made_at=_MOMENT,
)
_SHOOT = _object(
    id=_WHOLE,
    folder=_TEXT,
    path=_TEXT,
    jobs=_COUNTS,
    odd=_WHOLE,
    charged=_AMOUNT,
    changed_at=_MOMENT_OR_NULL,
    is_whole={"type": "boolean", "description": "false: there are more pictures than were counted"},
)
_DAY = _object(
    day={"type": "string", "format": "date"},
    folder=_TEXT,
    calls=_WHOLE,
    charged=_AMOUNT,
    doubtful=_AMOUNT,
    in_doubt=_WHOLE,
    refused=_WHOLE,
    doubles=_WHOLE,
    repeats=_WHOLE,
)
_CREDITS = _object(
    included={"type": ["number", "null"]},
    prepaid={"type": ["number", "null"]},
    spendable={"type": ["number", "null"]},
    period_end=_MOMENT_OR_NULL,
    read_at=_MOMENT_OR_NULL,
)
_STATUS: Schema = {
    "type": "object",
    "description": "what `status --json` prints",
    "properties": {
        "jobs": _COUNTS,
        "unsettled": _WHOLE,
        "credits": _CREDITS,
        "gate": {"type": "object"},
        "running": {"type": "boolean"},
    },
    "required": ["jobs", "unsettled", "credits", "gate", "running"],
}
_FOLDER = _object(name=_TEXT, jobs=_COUNTS, state=_TEXT_OR_NULL)


def _query(name: str, what: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "required": False, "description": what, "schema": schema}


_NUMBER: Schema = {"type": "integer", "minimum": 1, "maximum": 500}
_ROUTES: dict[str, tuple[str, list[Schema], Schema]] = {
    "/api/v1/status": ("How the daemon stands.", [], _STATUS),
    "/api/v1/jobs": (
        "Pictures, the last changed first.",
        [
            _query("state", "in these states", _list(_STATES)),
            _query("folder", "of these folders", _list(_TEXT)),
            _query("code", "with this reason; empty: without one", _TEXT),
            _query("q", "with this in their path", _TEXT),
            _query("odd", "those that look odd", {"type": "boolean"}),
            _query("before", "`next` of the page before", _TEXT),
            _query("limit", "how many", _NUMBER),
        ],
        _object(jobs=_list(_JOB), next=_TEXT_OR_NULL),
    ),
    "/api/v1/jobs/{id}": (
        "One picture, with its calls and files.",
        [{"name": "id", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 0}}],
        {"allOf": [_JOB, _object(calls=_list(_CALL), files=_list(_FILE))]},
    ),
    "/api/v1/shoots": (
        "The shoots of a folder, by name.",
        [
            _query("folder", "of this folder; without it, of the first", _TEXT),
            _query("from", "`next` of the page before", _TEXT),
            _query("limit", "how many", {**_NUMBER, "maximum": 100}),
        ],
        _object(shoots=_list(_SHOOT), next=_TEXT_OR_NULL),
    ),
    "/api/v1/credits": (
        "What the account holds, and what was spent by UTC day and folder.",
        [_query("days", "of so many days", {**_NUMBER, "maximum": 366})],
        _object(credits=_CREDITS, days=_list(_DAY)),
    ),
    "/api/v1/folders": ("The folders, with their pictures by state.", [], _object(folders=_list(_FOLDER))),
}
_ERROR = {"application/json": {"schema": _object(error=_TEXT)}}


def document(daemons: Sequence[str], base_path: str = "") -> Schema:
    """Return the promise; each daemon has the same routes below its own name."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "rembg-watch",
            "version": __version__,
            "description": "What the page shows, to be read by machines. Moments are UTC, credits are strings.",
        },
        "servers": [{"url": f"{base_path}/{name}".rstrip("/") or "/"} for name in daemons],
        "paths": {path: {"get": _operation(path, *route)} for path, route in _ROUTES.items()},
    }


def _operation(path: str, summary: str, parameters: list[Schema], answer: Schema) -> Schema:
    found = {"description": "Found.", "content": {"application/json": {"schema": answer}}}
    return {
        "operationId": path.removeprefix("/api/v1/").replace("/{id}", "_by_id"),
        "summary": summary,
        "parameters": parameters,
        "responses": {
            "200": found,
            "304": {"description": "Nothing has changed since the answer with that ETag."},
            "404": {"description": "There is no such thing.", "content": _ERROR},
            "503": {"description": "The ledger cannot be read now.", "content": _ERROR},
        },
    }
