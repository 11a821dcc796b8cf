"""
What the account says: whether it accepts the key, what can be spent, and whether the clocks agree.

This reads membership-usage and nothing else, which is free. It never sends a picture.
"""

import stat
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from rembg_watch.api.client import Client
from rembg_watch.api.errors import EmailNotVerifiedError, KeyRefusedError, RembgError, ThrottledError
from rembg_watch.api.responses import Account
from rembg_watch.config import Finding, FindingKind, Reading, Settings, Severity

if TYPE_CHECKING:
    from httpx import BaseTransport

Ask = Callable[[Settings], Account]
"""Reads the account, with the key and the addresses of the settings."""

_CLOCK_SLACK = timedelta(minutes=10)
_LONGEST_ANSWER_S = 20.0  # a person is waiting


def over_network(*, transport: "BaseTransport | None" = None) -> Ask:
    """Return a function that asks the real account; tests and the sandbox pass a *transport* of their own."""

    def ask(settings: Settings) -> Account:
        api = settings.api
        key = api.key.get_secret_value() if api.key else ""
        timeout_s = min(api.timeout_s, _LONGEST_ANSWER_S)
        with Client(key, url=api.url, usage_url=api.usage_url, timeout_s=timeout_s, transport=transport) as client:
            return client.account()

    return ask


def findings(reading: Reading, ask: Ask | None, *, now: datetime) -> Iterator[Finding]:
    """Report what is wrong with the key and what the account can pay for."""
    settings = reading.settings
    if settings is None or settings.api.key is None:
        return
    yield from _key_file(reading, settings)
    if ask is None:
        yield _note("the account was not asked, so the key may still be refused")
        return
    try:
        account = ask(settings)
    except RembgError as error:
        yield _trouble(error, reading)
        return
    yield from _credits(account, settings)
    yield from _clock(account, now)


def _note(what: str) -> Finding:
    return Finding(Severity.NOTE, FindingKind.ACCOUNT, what)


def _key_file(reading: Reading, settings: Settings) -> Iterator[Finding]:
    path = settings.api.key_file
    if path is None or reading.key_source != f"key_file {path}":
        return
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        what = f"others can read or change the key file {path} (mode {stat.S_IMODE(mode):04o})"
        yield Finding(Severity.WARNING, FindingKind.KEY, what, where="[api] key_file", todo=f"chmod 600 {path}")


def _trouble(error: RembgError, reading: Reading) -> Finding:
    if isinstance(error, KeyRefusedError):
        what = f"the API does not accept the key from {reading.key_source}: {error.message}"
        todo = "put the key from your account page there"
        return Finding(Severity.ERROR, FindingKind.KEY_REFUSED, what, where="[api]", todo=todo)
    if isinstance(error, EmailNotVerifiedError):
        what, todo = f"the account may not be used yet: {error.message}", "open the link in the vendor's e-mail"
        return Finding(Severity.ERROR, FindingKind.ACCOUNT, what, todo=todo)
    if isinstance(error, ThrottledError):
        what = f"the account could not be read just now: {error.message.rstrip('.')}"
        return Finding(Severity.WARNING, FindingKind.ACCOUNT, what, todo="try again in a while")
    what, todo = (
        f"the account could not be read: {error.message.rstrip('.')}",
        "check the network, the proxy and [api] usage_url",
    )
    return Finding(Severity.ERROR, FindingKind.ACCOUNT, what, where="[api] usage_url", todo=todo)


def _credits(account: Account, settings: Settings) -> Iterator[Finding]:
    each, room = settings.credits.per_image, account.spendable - settings.credits.reserve
    what = f'membership "{account.membership}": {account.spendable:f} credits can be spent'
    if each <= 0:
        yield _note(what)
    elif room < each:
        keeping = f" and {settings.credits.reserve:f} are kept in reserve" if settings.credits.reserve else ""
        what = f"{what}{keeping}: not enough for one picture"
        todo = "buy credits or wait for the next billing period; work waits and goes on by itself"
        yield Finding(Severity.WARNING, FindingKind.ACCOUNT, what, todo=todo)
    else:
        yield _note(f"{what}, enough for {int(max(room, Decimal(0)) // each)} pictures")


def _clock(account: Account, now: datetime) -> Iterator[Finding]:
    """The vendor's current billing period must also be the current one by this machine's clock."""
    cycle = account.billing_cycle
    if cycle is None or cycle.period_start_at - _CLOCK_SLACK <= now <= cycle.period_end_at + _CLOCK_SLACK:
        return
    what = (
        f"by this machine's clock it is {now:%Y-%m-%d %H:%M} UTC, but the account's current billing period "
        f"runs from {cycle.period_start_at:%Y-%m-%d} to {cycle.period_end_at:%Y-%m-%d}"
    )
    todo = "set the clock (timedatectl set-ntp true), or daily budgets and waiting times will be wrong"
    yield Finding(Severity.WARNING, FindingKind.MACHINE, what, todo=todo)
