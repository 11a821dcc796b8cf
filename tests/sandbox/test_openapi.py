"""The description is a valid OpenAPI 3.1 document, complete, and the sandbox keeps to it."""

import io
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from PIL import Image
from schemathesis import checks

from rembg_watch.sandbox import Sandbox
from rembg_watch.sandbox.openapi import document
from rembg_watch.sandbox.server import LoopbackServer

DOCUMENTED_FIELDS = {"image", "format", "w", "h", "exact_resize", "mask", "bg_color", "angle", "expand"}
DOCUMENTED_QUERY = {"year", "month", "periodStartUnix", "expand", "includeBillingCycle", "listBillingCycles"}
DOCUMENTED_ERRORS = {
    "No image file provided. Please include an 'image' field in your form data.",
    "No file selected. Please choose an image file to upload.",
    "File type '.exe' is not supported. Allowed formats: webp, bmp, png, jpg, jpeg",
    "File does not appear to be a valid image (invalid file signature)",
    "Uploaded file is empty (0 bytes).",
    "File size (55.2 MB) exceeds the maximum allowed size of 50 MB.",
    "Image width (12000px) exceeds the maximum allowed width of 10000px.",
    "Image height (15000px) exceeds the maximum allowed height of 10000px.",
    "'w' must be an integer, got: 'abc'",
    "'w' must be at least 1, got: -5",
    "'w' must be at most 10000, got: 15000",
    "'angle' must be a number, got: 'ninety'",
    "'angle' must be between -360 and 360 degrees, got: 500.0",
    "Invalid format 'gif'. Allowed formats: PNG, JPEG, WEBP, BMP",
    "Invalid color format '#12345'. Use hex format: #RGB, #RGBA, #RRGGBB, or #RRGGBBAA",
    "Cannot use 'mask=true' together with 'bg_color'. Choose one or the other.",
    "Email address not verified – please check your inbox",
    "invalid api key",
    "This is a mistake: Cannot use both API key and user token",
    "You're making requests too quickly, Please Upgrade or slow down.",
    "You've reached your daily limit. Please sign up for more access.",
    "You've reached your monthly limit. Consider purchasing more credits.",
    "Multiple validation errors",
}


def small_picture(kind: str) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (8, 6), "red").save(target, kind)
    return target.getvalue()


PICTURES = [small_picture(kind) for kind in ("PNG", "JPEG", "WEBP", "BMP")]
schemathesis.openapi.format("binary", st.one_of(st.sampled_from(PICTURES), st.binary(max_size=200)))
described = schemathesis.openapi.from_dict(json.loads(json.dumps(document())))


CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.unsupported_method,
]


def test_the_document_is_valid_openapi() -> None:
    described.validate()


def test_it_is_served_as_it_is() -> None:
    with httpx.Client(transport=Sandbox().transport(), base_url="http://sandbox") as client:
        assert client.get("/api/openapi").json() == json.loads(json.dumps(document()))


def test_every_documented_parameter_and_message_is_in_it() -> None:
    removal, usage = (document()["paths"][p][m] for p, m in (("/rmbg", "post"), ("/api/membership-usage", "get")))
    form = removal["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert form.keys() - {"return_base64"} == DOCUMENTED_FIELDS
    assert {p["name"] for p in usage["parameters"]} == DOCUMENTED_QUERY
    messages = {
        example["value"]["error"]
        for answer in removal["responses"].values()
        for example in answer["content"].get("application/json", {}).get("examples", {}).values()
    }
    assert messages >= DOCUMENTED_ERRORS


def answers() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            for status, answer in operation["responses"].items():
                yield f"{method} {path} {status}", answer


def test_every_example_keeps_to_its_schema() -> None:
    counted = 0
    for name, answer in answers():
        content = answer["content"].get("application/json", {})
        schema = {**content.get("schema", {}), "components": document()["components"]}
        for example in content.get("examples", {}).values():
            jsonschema_rs.validate(schema, example["value"])
            assert example["value"].get("status", 200) == int(name.split()[-1]), name
            counted += 1
    assert counted > 25


def test_everything_in_it_is_explained() -> None:
    removal, usage = (document()["paths"][p][m] for p, m in (("/rmbg", "post"), ("/api/membership-usage", "get")))
    form = removal["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    for explained in [*form.values(), *usage["parameters"], *(answer for _, answer in answers())]:
        assert explained["description"].endswith(".")


@pytest.fixture(scope="module")
def server() -> Iterator[LoopbackServer]:
    sandbox = Sandbox(engine="fast", credits=10**9, daily_limit=10)
    with sandbox.serve() as running:
        yield running
    seen = Counter({status: n for (path, status), n in sandbox.statuses.items() if path == "/rmbg"})
    assert {200, 400} <= seen.keys() <= {200, 400, 401, 429}, "the tests reached good and bad answers, and no other"


@described.parametrize()
@settings(
    max_examples=60,
    deadline=None,
    phases=[
        Phase.explicit,
        Phase.generate,
    ],  # what is found once is enough: shrinking asks for hundreds of pictures more
    suppress_health_check=list(HealthCheck),
)
def test_no_request_makes_it_break_or_say_what_is_not_described(
    case: schemathesis.Case, server: LoopbackServer
) -> None:
    case.headers.setdefault("x-api-key", "sandbox-key")
    if isinstance(case.body, dict):
        case.body |= {side: _modest(case.body[side]) for side in ("w", "h") if side in case.body}
    case.call_and_validate(base_url=server.base_url, checks=CHECKS, timeout=60)


def _modest(side: object) -> object:
    """Keep legal sizes small: a hundred megapixels take many seconds each, and other tests ask for those."""
    return side % 500 + 1 if isinstance(side, int) and 500 < side <= 10_000 else side
