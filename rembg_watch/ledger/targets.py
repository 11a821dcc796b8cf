"""
Which source owns which output name, and what was last put there.

Two names that differ in case or Unicode form alone count as one, since on many shares
they are. Portable SQL; whether a file stands under a name is not known here.
"""

from collections.abc import Iterable, Iterator
from dataclasses import fields
from datetime import datetime
from itertools import islice

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from rembg_watch.ledger.prepared import Prepared
from rembg_watch.ledger.rows import slices
from rembg_watch.ledger.schema import JOBS, TARGETS
from rembg_watch.ledger.values import Target, TargetsTakenError, name_key

MOST_NAMES = 1_000
"""How many candidates for an output name are looked at."""


class Candidates:
    """Names that are made as they are asked for, and the same ones each time: a commit may be taken again."""

    def __init__(self, names: Iterable[bytes]) -> None:
        self._made: list[bytes] = []
        self._rest = iter(islice(names, MOST_NAMES))

    def __iter__(self) -> Iterator[bytes]:
        yield from self._made
        for name in self._rest:
            self._made.append(name)
            yield name

    def __bool__(self) -> bool:
        return any(True for _ in self)


_IN_FOLDER = select(TARGETS).where(TARGETS.c.folder == bindparam("folder"))
_OF_SOURCE = Prepared(_IN_FOLDER.where(TARGETS.c.source == bindparam("source")).order_by(TARGETS.c.id))
_AT_NAME = Prepared(_IN_FOLDER.where(TARGETS.c.key == bindparam("key")))
_NAMED = ("folder", "key", "target", "source", "claimed_at")
_CLAIM = Prepared(insert(TARGETS).inline(), sets=_NAMED)
_OWNED = TARGETS.alias("owned")
_THIS = {name: bindparam(f"this_{name}", type_=TARGETS.c[name].type) for name in _NAMED}
_CLAIM_BEST = Prepared(
    insert(TARGETS)
    .from_select(
        _NAMED,
        select(*_THIS.values()).where(
            *(
                ~select(_OWNED.c.id).where(_OWNED.c.folder == _THIS["folder"], _OWNED.c[name] == _THIS[name]).exists()
                for name in ("source", "key")
            )
        ),
    )
    .inline()
)


def at_name(connection: Connection, folder: str, target: bytes) -> Target | None:
    """Return who owns a name, in whatever case or form it is spelled."""
    row = _AT_NAME.first(connection, {"folder": folder, "key": name_key(target)})
    return None if row is None else Target(**{one.name: getattr(row, one.name) for one in fields(Target)})


def own(connection: Connection, folder: str, source: bytes, candidates: Candidates) -> bytes | None:
    """Return the first of *candidates* that the source owns already, as it is spelled there."""
    rows = _OF_SOURCE.all(connection, {"folder": folder, "source": source})
    owned = {row.key: row.target for row in rows}
    return next((owned[key] for key in map(name_key, candidates) if key in owned), None) if owned else None


def claim(connection: Connection, folder: str, source: bytes, candidates: Candidates, at: datetime) -> bytes:
    """Give the source the first name that nobody else owns, its own one first; see ``Targets.claim_target``."""
    best = next(iter(candidates), None)
    if best is not None and _claim_best(connection, folder, source, best, at):
        return best
    mine = own(connection, folder, source, candidates)
    if mine is not None:
        return mine
    for target in candidates:
        if at_name(connection, folder, target) is None:
            row = {"folder": folder, "key": name_key(target), "target": target, "source": source, "claimed_at": at}
            _CLAIM.run(connection, row)
            return target
    raise TargetsTakenError(folder, source)


def _claim_best(connection: Connection, folder: str, source: bytes, target: bytes, at: datetime) -> bool:
    """Give the source this name if it owns none and nobody else has it: nearly always; say if so."""
    row = {"folder": folder, "key": name_key(target), "target": target, "source": source, "claimed_at": at}
    return _CLAIM_BEST.run(connection, {f"this_{name}": value for name, value in row.items()}) == 1


def release(connection: Connection, folder: str, source: bytes, target: bytes) -> bool:
    """Take a name from its source, so that it may have another; return whether it owned it."""
    where = (TARGETS.c.folder == folder, TARGETS.c.source == source, TARGETS.c.key == name_key(target))
    return connection.execute(delete(TARGETS).where(*where)).rowcount > 0


def publish(connection: Connection, published: Target) -> None:
    """Write down what now stands under a name, or raise ``TargetsTakenError`` where the source does not own it."""
    values = {
        "this_folder": published.folder,
        "this_source": published.source,
        "this_key": name_key(published.target),
        **{name: getattr(published, name) for name in _PUBLISHED},
    }
    if _PUBLISH.run(connection, values) == 0:
        raise TargetsTakenError(published.folder, published.source)


_PUBLISHED = ("target", "digest", "size_bytes", "mtime_ns", "inode")
_PUBLISH = Prepared(
    update(TARGETS).where(
        TARGETS.c.folder == bindparam("this_folder"),
        TARGETS.c.source == bindparam("this_source"),
        TARGETS.c.key == bindparam("this_key"),
    ),
    sets=_PUBLISHED,
)


def prune(connection: Connection, before: datetime, limit: int) -> int:
    """Forget names whose source has no job left and that were claimed before *before*."""
    orphan = ~select(JOBS.c.id).where(JOBS.c.folder == TARGETS.c.folder, JOBS.c.source == TARGETS.c.source).exists()
    statement = select(TARGETS.c.id).where(TARGETS.c.claimed_at < before, orphan).limit(limit)
    ids = list(connection.scalars(statement))
    for some in slices(ids):
        connection.execute(delete(TARGETS).where(TARGETS.c.id.in_(some)))
    return len(ids)
