"""
Whether the page may be served as it is set up: to whom it would be open, and by which password.

The page refuses to start where it must not, and ``check`` says so before; the daemon does not care.
"""

from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from rembg_watch.config.telling import WebSettings
from rembg_watch.errors import ConfigError

CREDENTIAL = "web_password"


def is_private(listen: str) -> bool:
    """Say whether only this machine can reach it."""
    if listen.startswith("unix:"):
        return True
    name = urlsplit(f"//{listen}").hostname or ""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def refuse_open_doors(web: WebSettings) -> None:
    """
    Make sure that nobody can look, or spend credits, whom nobody has let in.

    Raises:
        ConfigError: Somebody could.
    """
    if web.auth == "none" and not is_private(web.listen):
        todo = 'set auth = "password" and password_file, or listen on 127.0.0.1 or a unix socket behind a proxy'
        raise ConfigError([f"[web] listen = {web.listen!r} would show the pictures to everybody: {todo}"])
    if web.may == "act" and web.auth == "none" and not web.listen.startswith("unix:"):
        todo = 'set auth = "password" and password_file, or listen on a unix socket of those who may'
        raise ConfigError([f'[web] may = "act" and everybody on this machine could spend credits: {todo}'])
    if web.auth == "header" and not web.listen.startswith("unix:") and not web.trusted_proxies:
        todo = "name the proxy in trusted_proxies, or listen on a unix socket"
        raise ConfigError([f'[web] auth = "header": anybody could say to be anybody: {todo}'])


def password_of(web: WebSettings, environ: Mapping[str, str]) -> str:
    """
    Read the password.

    Raises:
        ConfigError: There is none, or none that can be one.
    """
    given = environ.get("CREDENTIALS_DIRECTORY")
    places = [Path(given) / CREDENTIAL] if given else []
    places += [web.password_file] if web.password_file is not None else []
    for place in places:
        with suppress(FileNotFoundError):
            try:
                password = place.read_text(encoding="utf-8").strip("\r\n")
            except (PermissionError, IsADirectoryError, UnicodeDecodeError) as error:
                raise ConfigError([f"[web] the password cannot be read from {place}: {error}"]) from error
            if not password.strip():
                raise ConfigError([f"[web] the password in {place} is empty"])
            return password
    todo = "set password_file, or give systemd the credential web_password"
    raise ConfigError([f'[web] auth = "password" and there is no password: {todo}'])
