"""What the settings are made into: recipes, the client, the policy, the verifiers, and the folders that are missing."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rembg_watch.account.retry import RetryPolicy
from rembg_watch.account.terms import Terms
from rembg_watch.api.client import Client
from rembg_watch.config import FolderSettings, Settings
from rembg_watch.delivery.decoders import Verifiers
from rembg_watch.errors import ConfigError
from rembg_watch.pipeline import Recipe
from rembg_watch.report import events
from rembg_watch.report.events import Reporter

if TYPE_CHECKING:
    import httpx

LEDGER_NAME = "ledger.db"
SPOOL_NAME = "spool"
STATUS_NAME = "status.json"

KEY_DIGEST = "key_digest"
RESUME = "resume"
"""The note by which ``retry`` asks a running daemon to try every hold at once."""


def recipe_of(folder: FolderSettings) -> Recipe:
    """Say what is done with the pictures of a configured folder."""
    return Recipe(
        name=folder.name,
        input=folder.input,
        output=folder.output,
        params=folder.options.params(),
        after=folder.after,
        done=folder.done,
        failed=folder.failed,
        upright=folder.upright,
    )


def build_client(settings: Settings, *, transport: "httpx.BaseTransport | None" = None) -> Client:
    """
    Make the client for the configured account.

    Raises:
        ConfigError: There is no key.
    """
    if settings.api.key is None:
        raise ConfigError(["there is no API key: set api.key_file, REMBG_WATCH_API__KEY or the credential api_key"])
    return Client(
        settings.api.key.get_secret_value(),
        url=settings.api.url,
        usage_url=settings.api.usage_url,
        timeout_s=settings.api.timeout_s,
        transport=transport,
        max_connections=settings.pool.workers + 4,
    )


def key_digest(settings: Settings) -> str:
    """Return what is kept of the key, to know it from another one."""
    key = settings.api.key
    return hashlib.sha256(b"rembg-watch" + key.get_secret_value().encode()).hexdigest()[:16] if key else ""


def build_verifiers(report: Reporter) -> Verifiers:
    """Make the processes that decode answers; how one of them ended is told."""
    return Verifiers(tell=lambda error: report(events.Mistake(where="verifying", error=error)))


def terms_of(settings: Settings, client: Client) -> Terms:
    """Return on what terms pictures are bought by way of *client*."""
    return Terms(
        policy=RetryPolicy(max_attempts=settings.retry.max_attempts, retries_doubt=settings.retry.in_doubt == "retry"),
        client=client,
        price=settings.credits.per_image,
        reserve=settings.credits.reserve,
        daily_budget=settings.credits.daily_budget,
        recheck_s=settings.credits.recheck_s,
    )


def missing_targets(settings: Settings, *, fstab: Path = Path("/etc/fstab")) -> Iterator[Path]:
    """
    Name the output, done and failed folders that are to be made.

    One that should lie on a share that is not mounted now is not made: cutouts would
    land on the disk underneath and be hidden by the share later.
    """
    awaited = _unmounted(fstab)
    for folder in settings.folders:
        for path in (folder.output, folder.done, folder.failed):
            if path is not None and not path.exists() and not awaited & {path, *path.parents}:
                yield path


def _unmounted(fstab: Path) -> set[Path]:
    """Read which mount points are configured and have nothing mounted on them now."""
    try:
        rows = [line.split() for line in fstab.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        return set()
    points = [Path(row[1]) for row in rows if len(row) > 1 and not row[0].startswith("#") and row[1].startswith("/")]
    return {point for point in points if not point.is_mount()}
