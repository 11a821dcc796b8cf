"""
What the environment says about the way to the API: which proxy, which certificates.

The variables are those that curl and httpx know. What nobody can read in ``NO_PROXY`` is
passed over. A proxy or a certificate file that cannot be used is no mistake of the caller and
may be mended while a service runs, so it fails the call, with the variable's name, and not
the making of the client. The address of a proxy is never repeated: it may hold a password.
"""

import ipaddress
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from rembg_watch.api.errors import UnreachableError

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_SCHEMES = frozenset({"http", "https", "socks5", "socks5h"})


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes: the part of its address that decides about a proxy."""

    scheme: str
    host: str  # without brackets
    port: int


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy and the variable that names it."""

    variable: str
    url: str


def proxy_for(target: Target, environ: Mapping[str, str]) -> Proxy | None:
    """
    Return the proxy for *target*, or None where the environment wants none.

    Raises:
        UnreachableError: A variable names something that is no proxy.
    """
    variables = _variables(environ)
    found = next((variables[name] for name in (target.scheme, "all") if variables.get(name, ("", ""))[1]), None)
    if found is None or passes_by(target, variables.get("no", ("", ""))[1]):
        return None
    name, value = found
    url = value if "://" in value else f"http://{value}"
    if not _is_proxy(url):
        raise unusable_proxy(name, "its value is no address of a proxy, such as http://proxy.example:3128")
    return Proxy(name, url)


def unusable_proxy(variable: str, why: str) -> UnreachableError:
    """Say that the proxy of an environment variable cannot be used."""
    return UnreachableError(
        message=f"The proxy in the environment variable {variable} cannot be used: {why}. Correct or unset {variable}.",
        code="proxy_unusable",
    )


def _variables(environ: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return name and value of each ``..._proxy``; small letters win, and what stands in them empty unsets."""
    found: dict[str, tuple[str, str]] = {}
    named = [name for name in environ if name.lower().endswith("_proxy")]
    for name in sorted(named, key=str.islower):
        found[name.lower().removesuffix("_proxy")] = (name, environ[name].strip())
    if "REQUEST_METHOD" in environ and found.get("http", ("", ""))[0] == "HTTP_PROXY":
        del found["http"]  # in a CGI script that is a header which a visitor sends
    return found


def _is_proxy(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in _SCHEMES and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


# --- NO_PROXY -------------------------------------------------------------------------------------


def passes_by(target: Target, no_proxy: str) -> bool:
    """Say whether the list *no_proxy* exempts *target*; an entry that nobody can read exempts nothing."""
    return any(_exempts(entry.strip(), target) for entry in no_proxy.replace(" ", ",").split(","))


def _exempts(entry: str, target: Target) -> bool:
    if entry == "*":
        return True
    scheme, separator, rest = entry.rpartition("://")
    if separator and scheme.lower() not in {"all", target.scheme}:
        return False
    host, port = _split(rest.lower().rstrip("/"))
    if not host or port not in {None, target.port}:
        return False
    addresses, wanted = _addresses(target.host), _addresses(host)
    if addresses:
        return bool(addresses & wanted) or any(_is_in_net(address, host) for address in addresses)
    return not wanted and _is_in_domain(target.host.lower().rstrip("."), host)


def _split(entry: str) -> tuple[str, int | None]:
    """Take brackets and a port off *entry*: ``[::1]:443``, ``[fe80::]/10``, ``host:443``, ``::1``."""
    if entry.startswith("["):
        inside, _, after = entry[1:].partition("]")
        return (inside + after, None) if after.startswith("/") else (inside, _port(after.removeprefix(":")))
    if entry.count(":") != 1:
        return entry, None
    host, _, port = entry.partition(":")
    return host, _port(port)


def _port(text: str) -> int | None:
    if not text:
        return None
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 5 else -1  # -1: no port at all


def _addresses(host: str) -> set[_Address]:
    """Return the address that *host* is, in both its spellings if it is one of IPv4 in IPv6; none for a name."""
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return set()
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return {found} if mapped is None else {found, mapped}


def _is_in_net(address: _Address, text: str) -> bool:
    try:
        return "/" in text and address in ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False


def _is_in_domain(host: str, entry: str) -> bool:
    """As httpx has it: ``example.com`` is that name and all below it, ``.example.com`` those below alone."""
    domain = entry.rstrip(".").removeprefix("*")
    if domain == "localhost":
        return host == domain
    return bool(domain.strip(".")) and (host == domain or host.endswith("." + domain.removeprefix(".")))


# --- certificates ---------------------------------------------------------------------------------


def certificates_variable(environ: Mapping[str, str]) -> str | None:
    """Name the variable that says whom to trust; None if none does."""
    return next((name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if environ.get(name)), None)


def own_certificates(environ: Mapping[str, str]) -> ssl.SSLContext | None:
    """
    Trust what ``SSL_CERT_FILE``, or else ``SSL_CERT_DIR``, names; None if neither is set.

    What is named and not there is never replaced by the usual certificates: whoever names his
    own does not trust those.

    Raises:
        UnreachableError: The variable names nothing that can be used.
    """
    if path := environ.get("SSL_CERT_FILE"):
        try:
            return ssl.create_default_context(cafile=path)
        except OSError as why:  # ssl.SSLError is one, too
            words = why.strerror or "it cannot be read"
            raise _unusable_certificates("SSL_CERT_FILE", path, _plain(why, words)) from None
    if path := environ.get("SSL_CERT_DIR"):
        if not any(Path(folder).is_dir() for folder in path.split(os.pathsep) if folder):
            raise _unusable_certificates("SSL_CERT_DIR", path, "there is no such folder")
        return ssl.create_default_context(capath=path)
    return None


def _plain(why: OSError, words: str) -> str:
    return "it holds no certificate (PEM)" if isinstance(why, ssl.SSLError) else words.lower()


def _unusable_certificates(variable: str, path: str, why: str) -> UnreachableError:
    shown = path if path.isprintable() else ascii(path)
    return UnreachableError(
        message=(
            f"The certificates that the environment variable {variable} names ({shown}) cannot be used: {why}. "
            f"Correct or unset {variable}."
        ),
        code="certificates_unusable",
    )
