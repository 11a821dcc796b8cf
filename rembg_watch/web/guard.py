"""
Who may ask for a page, and what a browser may do with it: decisions about one request, from what its headers say.

The page listens on loopback, where every web site that somebody opens on this machine can send requests to. So the
name it is asked for by has to be its own (against DNS rebinding), and what another site asks for is refused, with
its pictures. Where something may be changed here, only this page itself may ask for it, as the browser says; a
browser that does not say who asks is refused. So no token is needed in a form.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
OPEN_PATHS = frozenset({"/livez", "/healthz"})
"""What may be asked without saying who one is: a word, and no more."""

HEADERS: Mapping[str, str] = {
    "content-security-policy": (
        "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # with "no-referrer" a browser would not say either that a form is of this page
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
"""What goes with every answer, refusals included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """By which names the page may be asked for."""

    hosts: frozenset[str]  # as they stand in a request, with their port
    names: frozenset[str] = frozenset()  # whatever the port
    may_act: bool = False  # whether anything may be changed here

    def knows(self, host: str) -> bool:
        """Say whether *host* is one of its names."""
        host = host.lower()
        return host in self.hosts or _without_port(host) in self.names


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the guard looks at of a request; None: that header is not there."""

    method: str
    host: str | None
    origin: str | None = None
    site: str | None = None  # Sec-Fetch-Site: who asks, as the browser says
    mode: str | None = None  # Sec-Fetch-Mode
    dest: str | None = None  # Sec-Fetch-Dest


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not answered."""

    status: int
    sentence: str


def door(listen: str, hosts: Iterable[str], *, may_act: bool = False) -> Door:
    """Say by which names a page may be asked for that listens there, and whether it may change anything."""
    named = {one.lower() for one in hosts}
    with_port = frozenset(one for one in named if one != _without_port(one))
    if listen.startswith("unix:"):
        names = frozenset({*(named - with_port), *LOOPBACK_NAMES})
        return Door(hosts=with_port, names=names, may_act=may_act)
    parts = urlsplit(f"//{listen}")
    own = {f"{name}:{parts.port}" for name in (*LOOPBACK_NAMES, parts.netloc.rpartition(":")[0].lower())}
    usual = {one.removesuffix(":80") for one in own if one.endswith(":80")}
    known = frozenset({*own, *usual, *with_port})
    return Door(hosts=known, names=frozenset(named - with_port), may_act=may_act)


def refusal(asked: Asked, door: Door) -> Refusal | None:
    """Say why a request is not answered; None: it may be."""
    if asked.host is None or not door.knows(asked.host):
        name = _without_port(asked.host or "").strip("[]") or "(none)"
        return Refusal(403, f"This page is not known as {name!r}. Add that name to hosts in [web] and restart it.")
    if asked.origin is not None and not _is_same(asked.origin, asked.host):
        return Refusal(403, "Another site asks for this; only this page itself may.")
    if asked.site in {"cross-site", "same-site"} and not _is_a_visit(asked):
        return Refusal(403, "Another site asks for this; only this page itself may.")
    if asked.method in {"GET", "HEAD"}:
        return None
    if asked.method != "POST" or not door.may_act:
        return Refusal(405, "Here one can look, and nothing more.")
    if asked.site not in {None, "same-origin"} or (asked.site is None and asked.origin is None):
        return Refusal(403, "Only this page itself may ask for a change, and the browser does not say that it does.")
    return None


def _is_a_visit(asked: Asked) -> bool:
    """Say whether somebody followed a link to here, and gets the page to see instead of the other site."""
    return asked.method == "GET" and asked.mode == "navigate" and asked.dest == "document"


def _is_same(origin: str, host: str) -> bool:
    parts = urlsplit(origin)
    return parts.scheme in {"http", "https"} and parts.netloc.lower() == host.lower()


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def may_name_its_user(peer: str | None, trusted: Iterable[str]) -> bool:
    """Say whether whoever is connected is believed who its user is; *peer* is None over a unix socket."""
    if peer is None:
        return True
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    return any(address in ip_network(one) for one in trusted)
