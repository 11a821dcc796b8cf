"""
The first step: open and hash the source of a job, and look whether its answer was paid for before.

Costs nothing. Who asks for the same content at the same time waits for the first one's answer.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from os import fsdecode
from pathlib import Path

from rembg_watch.delivery.publish import is_ours
from rembg_watch.delivery.spool import Spool
from rembg_watch.errors import RembgWatchError
from rembg_watch.host.disk import Content, DeliveryError, OutputUnavailableError, TargetRefusedError, shown
from rembg_watch.jobs import REJECTED, Job, State, move, with_content
from rembg_watch.ledger import StaleJobError
from rembg_watch.pictures.carrying import cuts_without_words
from rembg_watch.pictures.extras import NEEDS_EXTRA
from rembg_watch.pictures.inspection import reader_of
from rembg_watch.pictures.metadata import Cut
from rembg_watch.pictures.naming import NoNameError
from rembg_watch.pipeline import ends
from rembg_watch.pipeline.names import Said, place_of, said_before
from rembg_watch.pipeline.plan import Plan, Recipe
from rembg_watch.pipeline.ports import Ports
from rembg_watch.pipeline.source import (
    PreparedSource,
    SourceChangedError,
    SourceGoneError,
    SourceUnfitError,
    SourceUnreadableError,
    open_picture,
)
from rembg_watch.pipeline.values import (
    Back,
    Blocked,
    Over,
    Paid,
    Ready,
    Twin,
    content_key,
    older_key,
    paid_with,
    picture_key,
    sent_key,
)
from rembg_watch.report import events

_SOURCE_RETRY_S = 30.0
_REJECTED = 'a person rejected the cut-out of this very picture; "rembg-watch redo" pays for another one'
_PLACE_RETRY_S = 300.0  # a person has to move something away, or to give a right


def prepare(
    ports: Ports, job: Job, *, beat: Callable[[], None] = lambda: None
) -> Ready | Paid | Over | Back | Twin | Blocked:
    """Open and hash the source of *job*, by the plan that is in force now, and look for an answer to it."""
    plan = ports.in_force.plan
    recipe = plan.recipes.get(job.folder)
    if recipe is None:
        return Back(job=job)
    if job.state is State.RECEIVED:
        return _recovered(ports, recipe, job, beat)
    if recipe.deliverables and (missing := ports.why_not_made()):  # nothing is bought that nothing can be made of
        return _held(ports, job, SourceUnfitError(missing, code=NEEDS_EXTRA, path=recipe.input / fsdecode(job.source)))
    try:
        place = _place_or_end(ports, plan, recipe, job, said_before(ports, recipe, job))
        if not isinstance(place, bytes):
            return place
        prepared = _open(ports, recipe, job, beat)
    except (SourceGoneError, SourceChangedError) as gone:
        if why := ports.roots.why_away(recipe.input):
            return _later(ports, plan, job, f"{shown(recipe.input)} is away: {why}", "away")
        return ends.vanished(ports, job, gone)
    except SourceUnfitError as unfit:
        return _held(ports, job, unfit) if unfit.code == NEEDS_EXTRA else ends.unsent(ports, job, State.FAILED, unfit)
    except (SourceUnreadableError, DeliveryError) as trouble:
        return _later(ports, plan, job, trouble.reason, trouble.code)
    return _prepared(ports, plan, recipe, job, prepared, place)


def _held(ports: Ports, job: Job, unfit: SourceUnfitError) -> Over:
    """Hold a picture for which something is to be installed: the next start puts it back in line."""
    return ends.unsent(ports, job, State.HELD, unfit)


def _place_or_end(ports: Ports, plan: Plan, recipe: Recipe, job: Job, said: Said) -> bytes | Over | Blocked:
    try:
        return _place(ports, recipe, job, said)
    except OutputUnavailableError as away:
        if away.path == recipe.output:  # nobody's picture can be delivered: all of them wait
            return Blocked(job=job, path=away.path, reason=away.reason, code=away.code)
        return _later(ports, plan, job, away.reason, away.code, _PLACE_RETRY_S)
    except TargetRefusedError as refused:
        return _later(ports, plan, job, refused.reason, refused.code, _PLACE_RETRY_S)
    except NoNameError as nameless:
        unfit = SourceUnfitError(str(nameless), code="no_name", path=recipe.input / fsdecode(job.source))
        return ends.unsent(ports, job, State.FAILED, unfit)


def _prepared(
    ports: Ports, plan: Plan, recipe: Recipe, job: Job, prepared: PreparedSource, place: bytes
) -> Ready | Paid | Twin | Over:
    try:
        ports.step("prepared")
        older = older_key(prepared, recipe)
        key = older if job.content_key == older else content_key(prepared, recipe)
        keyed = with_content(job, key, picture_key=picture_key(prepared, recipe))
        return _answered_before(ports, plan, recipe, keyed, prepared, place, older)
    except BaseException:
        prepared.close()
        raise


def _place(ports: Ports, recipe: Recipe, job: Job, said: Said) -> bytes:
    """
    Find out where the cut-out goes, and that it can go there: nothing is bought that cannot be delivered.

    Raises:
        DeliveryError: It could not be delivered.
    """
    with ports.shares.touching(recipe.name):
        ports.roots.check(recipe.output)
        if recipe.deliverables:
            return _places_of_files(ports, recipe, job, said)
        return ports.places.source_in(recipe.output, job.source, recipe.params.format.extension)


def _places_of_files(ports: Ports, recipe: Recipe, job: Job, said: Said) -> bytes:
    """
    Find out that the deliverables of a picture can go where they are to go.

    Raises:
        DeliveryError: They cannot.
        NoNameError: None of them has a name.
    """
    places, nameless = list[bytes](), list[NoNameError]()
    for one in recipe.deliverables:
        try:
            place = place_of(recipe, job, one, (0, 0), said)
        except NoNameError as cannot:
            nameless.append(cannot)
        else:
            places.append(ports.places.source_in(recipe.output, place, one.format.extension))
    if not places:
        raise nameless[0]
    return places[0]


def _open(ports: Ports, recipe: Recipe, job: Job, beat: Callable[[], None]) -> PreparedSource:
    source = recipe.input / fsdecode(job.source)
    return open_picture(
        source,
        job.version,
        root=recipe.input,
        scratch=ports.spool.directory,
        sends=recipe.sends,
        make=ports.upright,
        proxy=ports.proxy,
        touching=lambda: ports.shares.touching(job.folder),
        beat=beat,
    )


def _recovered(ports: Ports, recipe: Recipe, job: Job, beat: Callable[[], None]) -> Paid:
    """Measure an answer from an earlier run by its source, if that is still there."""
    if recipe.deliverables and ports.masters.is_there(str(job.content_key)):
        return Paid(job=job, recipe=recipe, expected=None, is_mastered=True)
    try:
        with _open(ports, recipe, job, beat) as prepared:
            return paid_with(job, recipe, prepared)
    except RembgWatchError:
        return Paid(job=job, recipe=recipe, expected=None)


def _answered_before(
    ports: Ports, plan: Plan, recipe: Recipe, job: Job, prepared: PreparedSource, place: bytes, older: str
) -> Ready | Paid | Twin | Over:
    key = str(job.content_key)
    with ports.contents.lock(key):
        if ports.contents.is_asked_by_another(key, job.id):
            prepared.close()
            return Twin(job=job, content_key=key)
        if job.redo_at is not None and not _forget_answer(ports, key):
            prepared.close()
            return _later(ports, plan, job, "the answer from before is still being delivered elsewhere", "redo_waits")
        answered = ports.ledger.answers_for(key, older, of=(job.folder, job.source), picture_key=job.picture_key)
        fresh = _fresh(job, answered)
        if _is_rejected(fresh):
            return _rejected(ports, recipe, job, prepared)
        if (kept := _kept_before(ports, recipe, job, fresh, prepared)) is not None:
            return kept
        ports.contents.begin(key, job.id)
    try:  # without the lock, since an output may let its readers wait: copies wait for what comes of this one
        known_job = _delivered_before(ports, plan, key, fresh)
        if known_job is not None:
            return _received(ports, recipe, job, known_job, prepared)
        return _ready(ports, plan, recipe, job, prepared, place, is_first=not answered)
    except BaseException as error:
        ports.contents.end(key)
        if isinstance(error, DeliveryError):  # it may be paid for: better wait for the folder than pay again
            prepared.close()
            return _later(ports, plan, job, error.reason, error.code)
        raise


def _ready(
    ports: Ports, plan: Plan, recipe: Recipe, job: Job, prepared: PreparedSource, place: bytes, *, is_first: bool
) -> Ready | Paid | Twin | Over:
    """Say that a picture has to be sent; or that it waits for another one, or has the answer of another one's copy."""
    key, sent = str(job.content_key), sent_key(prepared, recipe)
    asked: list[str] = []
    try:
        if sent:
            if not ports.contents.begins(sent, job.id):
                return _waiting(ports, job, prepared, sent, is_copy=True)
            asked.append(sent)
            if (answered := _answered_copy(ports, plan, recipe, job, prepared, sent)) is not None:
                ports.contents.end_all(asked)
                return answered
        if recipe.kind and not ports.trials.is_proven(ports.ledger, recipe.kind):
            trial = f"trial {recipe.kind}"
            if not ports.contents.begins(trial, job.id):
                ports.contents.end_all(asked)
                return _waiting(ports, job, prepared, trial, is_copy=False)
            asked.append(trial)
        if sent:
            ports.ledger.remember_sent(sent, key, ports.now())
        if prepared.pages > 1:
            ports.report(events.FirstOfPages(**events.of(job), pages=prepared.pages))
    except BaseException:
        ports.contents.end_all(asked)
        raise
    return Ready(job=job, recipe=recipe, prepared=prepared, place=place, is_first=is_first, asked=tuple(asked))


def _fresh(job: Job, answered: Iterable[Job]) -> list[Job]:
    """Leave out what was answered before a person had the picture made anew."""
    return [one for one in answered if job.redo_at is None or one.changed_at > job.redo_at]


def _is_rejected(answered: Iterable[Job]) -> bool:
    """Say whether a person did not want the cut-out of a picture, and none was delivered after that."""
    rejected = [one.changed_at for one in answered if one.state is State.FAILED and one.code == REJECTED]
    delivered = [one.delivered_at or one.changed_at for one in answered if one.state is State.DONE]
    return bool(rejected) and (not delivered or max(rejected) > max(delivered))


def _rejected(ports: Ports, recipe: Recipe, job: Job, prepared: PreparedSource) -> Over:
    """Leave a picture unpaid whose cut-out a person did not want."""
    prepared.close()
    source = recipe.input / fsdecode(job.source)
    return ends.unsent(ports, job, State.FAILED, SourceUnfitError(_REJECTED, code=REJECTED, path=source))


def _waiting(ports: Ports, job: Job, prepared: PreparedSource, awaited: str, *, is_copy: bool) -> Twin:
    ports.contents.end(str(job.content_key))
    prepared.close()
    return Twin(job=job, content_key=awaited, is_copy=is_copy)


def _answered_copy(
    ports: Ports, plan: Plan, recipe: Recipe, job: Job, prepared: PreparedSource, sent: str
) -> Paid | Over | None:
    """Take up the answer to a copy of the same bytes that was made of another picture."""
    other = ports.ledger.sent_for(sent)
    if other is None or other == job.content_key:
        return None
    fresh = _fresh(job, ports.ledger.answers_for(other))
    if _is_rejected(fresh):
        ports.contents.end(str(job.content_key))
        return _rejected(ports, recipe, job, prepared)
    if (kept := _kept_before(ports, recipe, job, fresh, prepared)) is not None:
        return kept
    known_job = _delivered_before(ports, plan, str(job.content_key), fresh)
    return None if known_job is None else _received(ports, recipe, job, known_job, prepared)


def _kept_before(
    ports: Ports, recipe: Recipe, job: Job, answered: Iterable[Job], prepared: PreparedSource
) -> Paid | None:
    """Go on with an answer that is kept on this machine: as a master, or in the spool."""
    key, answered = str(job.content_key), list(answered)
    for known in answered:
        if _take_up_master(ports, recipe, key, known):
            paid = _received(ports, recipe, job, known, prepared)
            return replace(paid, is_mastered=bool(recipe.deliverables))
    for known, path in answers_spooled(answered, ports.spool):
        if (taken := _take_up(ports, key, known, path)) is not None:
            return _received(ports, recipe, job, taken, prepared)
    return None


def _delivered_before(ports: Ports, plan: Plan, key: str, answered: Iterable[Job]) -> Job | None:
    """Return a job whose answer stands in an output and was brought into the spool."""
    hung = ports.shares.hung()
    for one in answered:
        recipe = plan.recipes.get(one.folder)
        if recipe is not None and one.folder in hung:
            why = f"{shown(recipe.output)} does not answer, and the picture may stand there: it is waited for"
            raise OutputUnavailableError(why, code="hung", path=recipe.output)
        with ports.shares.touching(one.folder):
            for known, path in answers_standing([one], plan.recipes, check=ports.roots.check):
                if (taken := _take_up(ports, key, known, path)) is not None:
                    return taken
    return None


def _received(ports: Ports, recipe: Recipe, job: Job, known: Job, prepared: PreparedSource) -> Paid:
    """Go on with an answer that was paid for before and is in the spool."""
    answer = {"answer_digest": known.answer_digest, "answer_bytes": known.answer_bytes, "redo_at": None}
    answer |= {"answer_w": known.answer_w, "answer_h": known.answer_h, "figures": known.figures}
    answer |= {"made_with": recipe.options_digest}
    received = ports.ledger.record(
        move(job, State.RECEIVED, at=ports.now(), retry_at=None, reason=None, code=None, **answer)
    )
    with prepared:
        return paid_with(received, recipe, prepared)


def _forget_answer(ports: Ports, key: str) -> bool:
    """
    Let go of a spooled answer that is to be paid for anew: after a crash it would pass for the new one.

    Returns:
        False while another job has still to publish it.
    """
    if ports.ledger.is_waiting_to_publish(key):
        return False
    ports.spool.drop(key)
    return True


def _take_up_master(ports: Ports, recipe: Recipe, key: str, known: Job) -> bool:
    """Bring an answer that was kept when it was delivered to where it is needed now; say if it could be had."""
    kept = str(known.content_key)
    if not ports.masters.has(kept, known.answer_digest):
        return False
    try:
        if not recipe.deliverables:
            ports.spool.copy_in(key, ports.masters.path(kept))
        elif kept != key:
            ports.masters.keep(key, ports.masters.path(kept))
    except OSError:
        return False
    return True


def answers_spooled(answered: Iterable[Job], spool: Spool) -> Iterator[tuple[Job, Path]]:
    """Name those of *answered* whose answer is in the spool as it came, each with its place."""
    for job in answered:
        path = spool.path(str(job.content_key))
        if path.exists() and spool.digest(str(job.content_key)) == job.answer_digest:
            yield job, path


def answers_standing(
    answered: Iterable[Job], recipes: Mapping[str, Recipe], *, check: Callable[[Path], None] = lambda _output: None
) -> Iterator[tuple[Job, Path]]:
    """
    Name those of *answered* whose cut-out stands in an output still, as it was put there, each with its place.

    Raises:
        DeliveryError: An output cannot be looked at now, or is away by *check*. It may hold the answer.
    """
    for job in answered:
        recipe = recipes.get(job.folder)
        if recipe is not None and job.target is not None:
            check(recipe.output)
            if _is_ours(recipe, job.target, job.standing):
                yield job, recipe.output / fsdecode(job.target)


def _is_ours(recipe: Recipe, target: bytes, standing: tuple[str, int]) -> bool:
    digest, size_bytes = standing
    try:
        return is_ours(recipe.output, target, Content(digest=digest, size_bytes=size_bytes))
    except OSError:
        return False


def _take_up(ports: Ports, key: str, known: Job, answer: Path) -> Job | None:
    """
    Bring an answer that was paid for before into the spool, without what was written into it since.

    Returns:
        Whose answer it is, with the digest of what is in the spool now; None if it could not be had.
    """
    if answer == ports.spool.path(key):
        return known
    is_cutout = answer.parent != ports.spool.directory
    try:
        cuts = _cuts_without_words(answer) if is_cutout and known.standing[0] != known.answer_digest else []
        read = ports.spool.copy_in(key, answer, cuts=cuts)
        if read.digest != (known.standing[0] if is_cutout else known.answer_digest):
            return None
        size_bytes = ports.spool.path(key).stat().st_size
        return replace(known, answer_digest=ports.spool.digest(key), answer_bytes=size_bytes)
    except OSError:
        return None


def _cuts_without_words(cutout: Path) -> list[Cut]:
    with cutout.open("rb") as file:
        return cuts_without_words(reader_of(file.fileno()))


def _later(ports: Ports, plan: Plan, job: Job, reason: str, code: str, retry_s: float = _SOURCE_RETRY_S) -> Over:
    retry_at = ports.now() + timedelta(seconds=retry_s)
    later = move(job, State.QUEUED, at=ports.now(), retry_at=retry_at, reason=reason, code=code)
    try:
        later = ports.ledger.record(later)
    except StaleJobError as stale:
        return Over(job=stale.job)
    ports.report(
        events.WillRetry(
            **events.of(job),
            why=reason,
            attempt=job.attempts,
            max_attempts=plan.terms.policy.max_attempts,
            retry_at=retry_at,
        )
    )
    return Over(job=later)
