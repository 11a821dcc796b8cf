"""
Where the page listens, and whether it may: on this machine, on a socket of systemd, or elsewhere with a login.

It serves until it is told to end. What is answered, ``app`` knows.
"""

import asyncio
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from rembg_watch.config.page import is_private, password_of, refuse_open_doors
from rembg_watch.config.telling import WebSettings
from rembg_watch.delivery.decoders import DecoderError, Decoders
from rembg_watch.errors import ExitCode, RembgWatchError
from rembg_watch.host.cache import Cache
from rembg_watch.showing.pictures import Views
from rembg_watch.web.app import Site
from rembg_watch.web.daemons import Daemon, named
from rembg_watch.web.entry import Entry
from rembg_watch.web.guard import door
from rembg_watch.web.login import HeaderLogin, Login, NoLogin, PasswordLogin

REQUEST_S = 20.0
"""Whoever has not said what is wanted by then is hung up on: slow clients must not use up what others need."""

_FIRST_FD = 3  # of those that systemd hands over
_STOP_S = 5
_TICK_S = 1.0  # the date in the answers is as exact
_IDLE_S = 10.0
_DECODERS = 2
_MB = 1_000_000


class ListenError(RembgWatchError):
    """The address cannot be listened on; the message says which and why."""

    exit_code = ExitCode.CONFIG


class _PatientProtocol(H11Protocol):
    """HTTP as uvicorn speaks it, but whoever says nothing is not waited for."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the parent
        super().connection_made(transport)
        self.loop.call_later(REQUEST_S, self._hang_up, transport)

    def _hang_up(self, transport: asyncio.Transport) -> None:
        asked: object = self.cycle  # None until there is a whole request
        if asked is None and not transport.is_closing():
            transport.close()


class _CalmServer(uvicorn.Server):
    """
    As uvicorn, which looks ten times a second whether it is to end, and here is told.

    That looking took three times as much of a processor as ten tabs that ask and hear that nothing has changed.
    """

    _told: asyncio.Event | None = None
    _loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        self._loop, self._told = asyncio.get_running_loop(), asyncio.Event()
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), _TICK_S)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if self._loop is not None and self._told is not None:
            self._loop.call_soon_threadsafe(self._told.set)


def login_of(web: WebSettings, environ: Mapping[str, str]) -> Login:
    """
    Return how it is found out who asks.

    Raises:
        ConfigError: A login is wanted that cannot work, or none where one is needed. Then nothing is served.
    """
    refuse_open_doors(web)
    match web.auth:
        case "none":
            return NoLogin()
        case "password":
            return PasswordLogin(password_of(web, environ))
        case "header":
            return HeaderLogin(web.user_header, web.trusted_proxies)


def cache_dir(environ: Mapping[str, str]) -> Path | None:
    """Say where small pictures are kept; None: nowhere, they are made each time."""
    given = environ.get("CACHE_DIRECTORY", "").split(":")[0]
    home = environ.get("XDG_CACHE_HOME", "") or (f"{environ['HOME']}/.cache" if environ.get("HOME") else "")
    place = Path(given) if given.startswith("/") else Path(home) / "rembg-watch" if home.startswith("/") else None
    if place is None:
        return None
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = place / f".{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError:
        return None
    return place


def serve(
    configs: Sequence[Path],
    environ: Mapping[str, str],
    *,
    on_listening: Callable[[str], None],
    tell: Callable[[str], None] = lambda _: None,
) -> None:
    """
    Serve the page of these configurations until SIGTERM or SIGINT; the first one says where and to whom.

    Args:
        configs: Their files.
        environ: The environment; whatever it says of a key is left out.
        on_listening: Called once with the address.
        tell: Called with what goes wrong and stops nothing.

    Raises:
        ConfigError: A configuration cannot be used, or must not.
        ListenError: The address cannot be listened on.
    """
    daemons = {name: Daemon(name, config, environ) for name, config in named(configs).items()}
    web = next(iter(daemons.values())).settings.web
    login = login_of(web, environ)
    place = cache_dir(environ)
    cache = Cache(place, limit_bytes=web.thumbnails_mb * _MB) if place is not None else None

    def on_decoder(error: DecoderError) -> None:
        tell(str(error))

    with closing(Decoders(most=_DECODERS, tell=on_decoder)) as decoders, _listening(web.listen, environ) as listener:
        may_act = web.may == "act"
        site = Site(daemons, Views(cache, decoders), base_path=web.base_path, may_act=may_act)
        entrance = door(_place(web.listen, listener), web.hosts, may_act=may_act)
        app = Entry(site.app(), door=entrance, login=login, base_path=web.base_path)

        def begin() -> None:
            on_listening(_address(web, listener))
            threading.Thread(target=_look_ahead, args=(daemons.values(),), name="first look", daemon=True).start()

        try:
            asyncio.run(_serve(app, listener, decoders, begin))
        finally:
            for daemon in daemons.values():
                daemon.close()


def _look_ahead(daemons: Iterable[Daemon]) -> None:
    """Read what takes long of a large ledger, so that whoever asks first need not wait for it."""
    for daemon in daemons:
        with suppress(RembgWatchError):  # whoever asks is told
            daemon.look_ahead(now=datetime.now(UTC))


async def _serve(app: ASGIApp, listener: socket.socket, decoders: Decoders, on_listening: Callable[[], None]) -> None:
    config = uvicorn.Config(
        app,
        http=_PatientProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_STOP_S,
        timeout_keep_alive=30,
        h11_max_incomplete_event_size=32 * 1024,
    )
    server = _CalmServer(config)
    upkeep = asyncio.create_task(_upkeep(decoders, server, on_listening))
    await server.serve(sockets=[listener])
    upkeep.cancel()


async def _upkeep(decoders: Decoders, server: uvicorn.Server, on_listening: Callable[[], None]) -> None:
    while not server.started:
        await asyncio.sleep(0.01)
    on_listening()
    while True:
        await asyncio.sleep(_IDLE_S)
        await asyncio.to_thread(decoders.end_idle)


def _place(listen: str, listener: socket.socket) -> str:
    """Say where it listens in fact: on the port that was chosen for it, or on what systemd handed over."""
    if listener.family == socket.AF_UNIX:
        return f"unix:{os.fsdecode(listener.getsockname())}"
    host, port = listener.getsockname()[:2]
    name = urlsplit(f"//{listen}").hostname if not listen.startswith("unix:") else host
    return f"[{name}]:{port}" if name and ":" in name else f"{name}:{port}"


def _address(web: WebSettings, listener: socket.socket) -> str:
    if listener.family == socket.AF_UNIX:
        return f"unix:{os.fsdecode(listener.getsockname())}"
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}{web.base_path}/" if ":" in host else f"http://{host}:{port}{web.base_path}/"


def _listening(listen: str, environ: Mapping[str, str]) -> socket.socket:
    """
    Return a socket that listens: systemd's, or one of our own.

    Raises:
        ListenError: It cannot be had.
    """
    handed = _handed_over(environ)
    if handed is not None:
        _refuse_wider(handed, listen)
        return handed
    try:
        return _unix(Path(listen.removeprefix("unix:"))) if listen.startswith("unix:") else _tcp(listen)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ListenError(f"Cannot listen on {listen}: {why}. Choose another one: listen in [web]") from error


def _handed_over(environ: Mapping[str, str]) -> socket.socket | None:
    """Return the socket that systemd listens on already (``sd_listen_fds``)."""
    if environ.get("LISTEN_PID") != str(os.getpid()) or environ.get("LISTEN_FDS") != "1":
        return None
    if not stat.S_ISSOCK(os.fstat(_FIRST_FD).st_mode):
        return None
    os.set_inheritable(_FIRST_FD, False)
    return socket.socket(fileno=_FIRST_FD)


def _refuse_wider(handed: socket.socket, listen: str) -> None:
    """Make sure that systemd's socket is no wider than what the settings speak of, on which the login was decided."""
    if handed.family == socket.AF_UNIX:
        return
    host = handed.getsockname()[0]
    if not is_private(f"[{host}]:1" if ":" in host else f"{host}:1") and is_private(listen):
        raise ListenError(
            f"systemd listens on {host}, which others can reach, and [web] listen says {listen}: let them agree"
        )


def _tcp(listen: str) -> socket.socket:
    parts = urlsplit(f"//{listen}")
    host, port = parts.hostname or "", parts.port or 0
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(256)
    except BaseException:
        listener.close()
        raise
    return listener


def _unix(path: Path) -> socket.socket:
    """Listen on a socket for this user and group; one that nobody listens on any more is replaced."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o117)
    try:
        if path.is_socket() and not _answers(path):
            path.unlink()
        listener.bind(os.fspath(path))
        listener.listen(256)
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(before)
    return listener


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except OSError:
            return False
        return True
