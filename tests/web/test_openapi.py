"""What the API promises is what it answers, whatever is asked."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import checks

from rembg_watch.web.openapi import document
from tests.web.running import Running, running
from tests.web.studio import Studio

CHECKS = [
    checks.not_a_server_error,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
described = schemathesis.openapi.from_dict(json.loads(json.dumps(document([""]))))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    root: Path = tmp_path_factory.mktemp("api")
    studio = Studio(root, web='listen = "127.0.0.1:0"')
    with studio.open() as ledger:
        studio.drop(ledger, "acme/1.jpg", b"acme/caf\xe9.jpg", "2.jpg")
        studio.deliver(ledger)
        studio.fail(ledger)
    studio.report()
    with running(studio.config, home=root) as page:
        yield page


@described.parametrize()
@settings(
    max_examples=25, deadline=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)  # fmt: skip
def test_every_answer_is_as_promised_whatever_is_asked(case: schemathesis.Case[Any], page: Running) -> None:
    case.call_and_validate(base_url=page.url.rstrip("/"), checks=CHECKS, timeout=30)


def test_what_is_there_is_as_promised(page: Running) -> None:
    """The search above seldom finds what there is."""
    with httpx.Client(base_url=page.url) as client:
        assert client.get("/api/openapi.json").json() == document([""])
        ids = [one["id"] for one in client.get("/api/v1/jobs").json()["jobs"]]
        assert len(ids) == 3
        for path in ("/status", "/jobs", *(f"/jobs/{one}" for one in ids), "/shoots", "/credits", "/folders"):
            name = "/api/v1/jobs/{id}" if path.startswith("/jobs/") else f"/api/v1{path}"
            answer = client.get(f"/api/v1{path}")
            schema = document([""])["paths"][name]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
            jsonschema_rs.Draft202012Validator(schema, validate_formats=True).validate(answer.json())
