"""
The sidecar of a picture: a JSON file beside its deliverables that says what was made of what.

It is written after all of them, so whoever waits for it finds them whole. The same facts give the same bytes: a sidecar
is written anew only where it would say something else. It names no machine and no place outside its folder. The schema
is described in ``docs/sidecar.md``. Nothing is written here: ``making`` puts it where it belongs.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import file_digest
from os import fsdecode
from pathlib import Path
from typing import BinaryIO

from rembg_watch.jobs import Job
from rembg_watch.ledger import Made, MadeState
from rembg_watch.pipeline.plan import Recipe

SCHEMA = "rembg-watch sidecar 1"
EXTENSION = ".json"

Json = dict[str, object]


def source_digest(source: BinaryIO | None, root: Path, known: Made | None) -> str | None:
    """
    Return the SHA-256 of a source; of one that is gone, what the sidecar that stands below *root* says of it.

    Raises:
        OSError: The source cannot be read.
    """
    if source is not None:
        source.seek(0)
        with open(source.fileno(), "rb", closefd=False) as file:
            return file_digest(file, "sha256").hexdigest()
    if known is None or known.target is None:
        return None
    try:
        said = json.loads((root / fsdecode(known.target)).read_bytes())["source"]["sha256"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return said if isinstance(said, str) else None


def sidecar(job: Job, recipe: Recipe, made: Mapping[str, Made], digest: str | None) -> bytes:
    """
    Return what the sidecar of a picture holds: UTF-8, indented, with a line end.

    Args:
        job: The picture.
        recipe: How its files are made.
        made: What there is of each, by name.
        digest: SHA-256 of the source, where it is known.
    """
    wanted = [made[one.name] for one in recipe.deliverables if one.name in made]
    said: Json = {
        "schema": SCHEMA,
        "folder": recipe.name,
        "source": {
            **_path("path", job.source),
            "size_bytes": job.version.size_bytes,
            "sha256": digest,
            "modified_at": datetime.fromtimestamp(job.version.mtime_ns // 10**9, UTC).isoformat(),
        },
        "files": [_file(one) for one in wanted if one.state is not MadeState.FAILED],
        "not_made": [_not_made(one) for one in wanted if one.state is MadeState.FAILED],
        "credits": str(job.charged),
        "answer": {
            "sha256": job.answer_digest,
            "size_bytes": job.answer_bytes,
            "figures": json.loads(job.figures) if job.figures else None,
        },
        "options": {
            "request": recipe.options,
            "master": recipe.master.value,
            "edges": recipe.edges.value,
            "assume": Path(recipe.assume).name,
        },
    }
    return json.dumps(said, indent=2, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _file(one: Made) -> Json:
    return {
        "deliverable": one.name,
        **_path("path", one.target or b""),
        "size_bytes": one.size_bytes,
        "sha256": one.digest,
        "remarks": one.code.split(",") if one.code else [],
        "recipe": one.recipe_digest,
    }


def _not_made(one: Made) -> Json:
    return {"deliverable": one.name, "code": one.code, "reason": one.reason}


def _path(name: str, path: bytes) -> Json:
    """Return a path as text, and beside one that is no text its bytes in hexadecimal."""
    try:
        return {name: path.decode()}
    except UnicodeDecodeError:
        return {name: path.decode("utf-8", "replace"), f"{name}_hex": path.hex()}
