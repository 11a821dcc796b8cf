"""A test of every way to people, for whoever sets them up."""

import os
import socket
from datetime import UTC, datetime

from rembg_watch.config import Settings
from rembg_watch.errors import ConfigError
from rembg_watch.notify.ping import ask
from rembg_watch.notify.sending import MISSING, Sender, SenderError, is_available
from rembg_watch.notify.urls import address, place
from rembg_watch.notify.values import Kind, Notice, Policy, Urgency


def try_all(settings: Settings) -> list[tuple[str, str | None]]:
    """
    Send a test notice by each URL, and ask for the one of the ping.

    Returns:
        What may be shown of each, and why it was in vain; None: it was not.

    Raises:
        ConfigError: Apprise is not installed, or the URLs cannot be read.
    """
    return [*_notices(settings), *_ping(settings)]


def _notices(settings: Settings) -> list[tuple[str, str | None]]:
    path = place(settings.notify.urls_file, os.environ)
    if path is None:
        return []
    if not is_available():
        raise ConfigError([MISSING])
    notice = Notice(
        number=0,
        keys=("test",),
        kind=Kind.INFO,
        title=Policy(host=socket.gethostname()).title("a test"),
        lines=("This is a test. If you read it, notices arrive here.",),
        urgency=Urgency.PERSON,
        made_at=datetime.now(UTC),
    )
    try:
        with Sender(path) as sender:
            return [(way.shown, way.why) for way in sender.send(notice)]
    except SenderError as error:
        raise ConfigError([str(error)]) from error


def _ping(settings: Settings) -> list[tuple[str, str | None]]:
    if settings.notify.ping_url is None:
        return []
    url = settings.notify.ping_url.get_secret_value()
    return [(f"ping {address(url)}", ask(url))]
