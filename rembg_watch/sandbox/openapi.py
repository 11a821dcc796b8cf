"""
The OpenAPI 3.1 description of what is emulated, complete with examples and errors.

Messages come from the error table in ``rules``, so that description and answers
cannot drift apart. The control routes under ``/sandbox/`` are no part of the API
and are not in it.
"""

from functools import cache
from typing import Any

from rembg_watch.sandbox.account import COMBINED
from rembg_watch.sandbox.rules import ERROR_TABLE, INVALID_KEY, SEVERAL, TWO_CREDENTIALS

Schema = dict[str, Any]

_ABOUT = """\
Remove the background of a picture, and read what the account has left.

This document describes the sandbox that comes with rembg-watch: the Rembg API emulated on this machine, after the
vendor's public documentation. Nothing that is sent here leaves the machine, and no credit is spent.

Requests are checked in a fixed order: key and user token both sent; the key; the e-mail address; the short-term rate;
the daily or monthly limit; the picture; the parameters. Findings about the picture and the parameters come together.
"""


@cache
def document() -> Schema:
    """Return the description as one JSON-ready value."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Rembg API (sandbox)",
            "version": "1.0.0",
            "summary": "Background removal and membership usage.",
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "this sandbox"}],
        "tags": [
            {"name": "Background removal", "description": "A picture in, its foreground out."},
            {"name": "Account", "description": "Plan, credits and usage."},
        ],
        "paths": {
            "/rmbg": {"post": _removal()},
            "/api/membership-usage": {"get": _membership_usage()},
        },
        "components": {
            "securitySchemes": {
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "Your API key."}
            },
            "schemas": {
                "Error": _error_schema(),
                "MembershipUsage": _usage_schema(),
                "BillingCycle": _cycle_schema(),
                "BillingCycleList": _object({"billingCycles": {"type": "array", "items": _object(_cycle_fields())}}),
            },
        },
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _removal() -> Schema:
    return {
        "tags": ["Background removal"],
        "operationId": "removeBackground",
        "summary": "Remove the background of a picture",
        "description": (
            "Send one picture as `multipart/form-data`. The answer is the cut-out itself. Without a key the caller is "
            "anonymous and has a daily limit."
        ),
        "security": [{"apiKey": []}, {}],
        "requestBody": {"required": True, "content": {"multipart/form-data": _form()}},
        "responses": {
            "200": _picture(),
            "400": _errors("The request is not acceptable. Nothing is charged.", 400, with_details=True),
            "401": _errors("The key is not known.", 401),
            "403": _errors("The e-mail address of the account is not verified.", 403),
            "429": {
                **_errors("A limit is reached; which one, the message alone tells.", 429),
                "headers": {
                    "Retry-After": {"description": "Seconds to wait; rarely sent.", "schema": {"type": "integer"}}
                },
            },
        },
    }


def _form() -> Schema:
    return {
        "schema": {"type": "object", "required": ["image"], "properties": _form_fields()},
        "encoding": {"image": {"contentType": "image/webp, image/bmp, image/png, image/jpeg"}},
        "examples": {
            "as it is": {"summary": "WebP with transparency", "value": {"image": "(the file)"}},
            "for a shop": {
                "summary": "White ground, fitted into 2000 x 2000",
                "value": {"image": "(the file)", "format": "jpeg", "w": 2000, "h": 2000, "bg_color": "#ffffff"},
            },
            "mask": {
                "summary": "The alpha mask alone",
                "value": {"image": "(the file)", "format": "png", "mask": True},
            },
        },
    }


def _form_fields() -> Schema:
    side = {"type": "integer", "minimum": 0, "maximum": 10000}
    return {
        "image": {
            "type": "string",
            "format": "binary",
            "description": "webp, bmp, png, jpg or jpeg; not empty; at most 50 MB, 10000 px wide and 10000 px tall.",
        },
        "format": {
            "type": "string",
            "pattern": "^([pP][nN][gG]|[jJ][pP][eE][gG]|[wW][eE][bB][pP]|[bB][mM][pP])$",
            "default": "webp",
            "examples": ["webp", "png", "jpeg", "bmp"],
            "description": "Format of the answer, in any case. JPEG and BMP are laid on white.",
        },
        "w": {**side, "examples": [800], "description": "Target width. 0 counts as left out."},
        "h": {**side, "examples": [600], "description": "Target height. 0 counts as left out."},
        "exact_resize": {
            "type": "boolean",
            "default": False,
            "description": "Force exactly w x h, which may distort. Otherwise w and h are a box to fit into.",
        },
        "mask": {
            "type": "boolean",
            "default": False,
            "description": "Return the alpha mask alone. Not together with `bg_color`.",
        },
        "bg_color": {
            "type": "string",
            "examples": ["#ffffff", "#fff", "#ff000080", "red"],
            "description": "Solid background: #RGB, #RGBA, #RRGGBB, #RRGGBBAA, or a CSS colour name.",
        },
        "angle": {
            "type": "number",
            "minimum": -360,
            "maximum": 360,
            "default": 0,
            "examples": [90],
            "description": "Turn after everything else, in degrees, counter-clockwise.",
        },
        "expand": {
            "type": "boolean",
            "default": True,
            "description": "Pad, so that a turned picture is not cropped.",
        },
        "return_base64": {
            "type": "boolean",
            "default": False,
            "description": "Sent by the vendor's own client, which encodes the answer itself. Taken without effect.",
        },
    }


def _picture() -> Schema:
    binary = {"schema": {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}}
    kinds = ("image/webp", "image/png", "image/jpeg", "image/bmp")
    return {"description": "The cut-out, in the format that was asked for.", "content": dict.fromkeys(kinds, binary)}


def _errors(about: str, status: int, *, with_details: bool = False) -> Schema:
    examples: Schema = {
        scenario: {"summary": scenario.capitalize(), "value": {"error": message, "status": row_status}}
        for scenario, row_status, message in ERROR_TABLE
        if row_status == status
    }
    if with_details:
        details = [
            {"field": "w", "message": "'w' must be an integer, got: 'abc'"},
            {"field": "angle", "message": "'angle' must be between -360 and 360 degrees, got: 500.0"},
        ]
        examples["several at once"] = {
            "summary": "Several at once",
            "value": {"error": SEVERAL, "details": details, "status": 400},
        }
    return {"description": about, "content": {"application/json": {"schema": _ref("Error"), "examples": examples}}}


def _membership_usage() -> Schema:
    return {
        "tags": ["Account"],
        "operationId": "membershipUsage",
        "summary": "Read plan, credits and usage",
        "description": (
            "By UTC calendar month, by billing window, or as the list of billing windows. What can be spent now is "
            "`billingCycle.remainingIncludedCredits` + `prepaidCredits`."
        ),
        "security": [{"apiKey": []}],
        "parameters": _usage_parameters(),
        "responses": {
            "200": _usage_answer(),
            "400": _error("The query contradicts itself.", [COMBINED, TWO_CREDENTIALS], 400),
            "401": _error("The key is missing or not known.", [INVALID_KEY], 401),
        },
    }


def _error(about: str, messages: list[str], status: int) -> Schema:
    examples = {message[:40]: {"value": {"error": message, "status": status}} for message in messages}
    return {"description": about, "content": {"application/json": {"schema": _ref("Error"), "examples": examples}}}


def _usage_parameters() -> list[Schema]:
    def query(name: str, schema: Schema, about: str, example: object) -> Schema:
        return {"name": name, "in": "query", "schema": schema, "description": about, "example": example}

    flag = {"type": "string", "enum": ["1", "true"]}
    return [
        query("year", {"type": "integer", "minimum": 1, "maximum": 9999}, "Calendar year; left out: now.", 2026),
        query("month", {"type": "integer", "minimum": 1, "maximum": 12}, "Calendar month; left out: now.", 3),
        query(
            "periodStartUnix",
            {"type": "integer", "minimum": 0, "maximum": 253402300799},
            "Start of a billing window in Unix seconds. Not together with `year` or `month`.",
            1774268612,
        ),
        query(
            "expand", {"type": "string"}, "Comma-separated flags; `billing_cycle` adds `billingCycle`.", "billing_cycle"
        ),
        query("includeBillingCycle", flag, "The same as `expand=billing_cycle`.", "1"),
        query("listBillingCycles", flag, "List the billing windows; every other parameter is ignored.", "1"),
    ]


def _usage_answer() -> Schema:
    cycle = {
        "periodStartUnix": 1740441600,
        "periodEndUnix": 1743033599,
        "appUsage": 4200,
        "apiUsage": 5100,
        "includedCredits": 18500,
        "prepaidCredits": 2000,
        "usedIncludedCredits": 9300,
        "remainingIncludedCredits": 9200,
        "stripeBillingSynced": True,
    }
    plain = {
        "membership": "Premium-20000",
        "credits": 18500,
        "prepaidCredits": 2000,
        "app_usage": 8500,
        "api_usage": 10000,
    }
    listed = {"periodStartUnix": 1774268612, "periodEndUnix": 1776947012, "appUsage": 120, "apiUsage": 880}
    return {
        "description": "The account, or with `listBillingCycles` its billing windows, newest first.",
        "content": {
            "application/json": {
                "schema": {"oneOf": [_ref("MembershipUsage"), _ref("BillingCycleList")]},
                "examples": {
                    "with billing cycle": {"value": {**plain, "billingCycle": cycle}},
                    "without": {"value": plain},
                    "list": {"value": {"billingCycles": [listed]}},
                },
            }
        },
    }


def _object(required: Schema, optional: Schema | None = None) -> Schema:
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def _count(about: str) -> Schema:
    return {"type": "integer", "minimum": 0, "description": about}


def _error_schema() -> Schema:
    detail = _object({"field": {"type": "string"}, "message": {"type": "string"}})
    return _object(
        {
            "error": {"type": "string", "description": "What is wrong, in one sentence."},
            "status": {"type": "integer", "description": "The HTTP status again."},
        },
        {
            "details": {
                "type": "array",
                "minItems": 2,
                "items": detail,
                "description": "One entry per finding, where there are several.",
            }
        },
    )


def _usage_schema() -> Schema:
    return _object(
        {
            "membership": {"type": "string", "description": "Name of the plan."},
            "credits": _count("Included credits of the plan, per period."),
            "prepaidCredits": _count("Bought credits; they do not come back with a period."),
            "app_usage": _count("Spent by the web editor in the month or period asked for."),
            "api_usage": _count("Spent by the API in the month or period asked for."),
        },
        {"billingCycle": _ref("BillingCycle")},
    )


def _cycle_fields() -> Schema:
    return {
        "periodStartUnix": _count("First second of the window."),
        "periodEndUnix": _count("Last second before the renewal."),
        "appUsage": _count("Included credits spent by the web editor."),
        "apiUsage": _count("Included credits spent by the API."),
    }


def _cycle_schema() -> Schema:
    return _object(
        {
            **_cycle_fields(),
            "includedCredits": _count("Included credits of the plan."),
            "prepaidCredits": _count("Bought credits."),
            "usedIncludedCredits": _count("appUsage + apiUsage."),
            "remainingIncludedCredits": _count("max(0, includedCredits - usedIncludedCredits)."),
            "stripeBillingSynced": {
                "type": "boolean",
                "description": "True: this window is enforced. False: it is the UTC calendar month, a fallback.",
            },
        }
    )
