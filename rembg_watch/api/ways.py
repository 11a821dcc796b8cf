"""
The ways to the API: by which proxy, trusting whom; by what the caller says or else the environment.

What the caller says is tried out at once, what the environment says (``environment``) by
each call, since it may be mended while a service runs.
"""

import os
import ssl
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import httpx

from rembg_watch.api.environment import (
    Proxy,
    Target,
    certificates_variable,
    own_certificates,
    proxy_for,
    unusable_proxy,
)
from rembg_watch.api.errors import UnreachableError

Verify = bool | str | os.PathLike[str] | ssl.SSLContext


class Ways:
    """
    How requests to some addresses go.

    Args:
        urls: The addresses.
        proxy: A proxy for all of them, over what the environment says.
        verify: False trusts any certificate; a path is a file or folder of own CAs.

    Raises:
        OSError: The certificates that were given cannot be read.
        ImportError: The proxy needs a package that is missing.
        ValueError: The proxy is none; so says ``httpx.InvalidURL``, too.
    """

    def __init__(self, urls: Iterable[httpx.URL], *, proxy: str | None, verify: Verify) -> None:
        self._urls = {origin(url): url for url in urls}
        self._proxy = proxy
        self._is_usual = verify is True
        self._trust = None if verify is True else _given(verify)
        if proxy is not None:
            httpx.HTTPTransport(proxy=proxy, verify=nobody(), trust_env=False).close()

    def trusted(self) -> ssl.SSLContext:
        """
        Return whom to trust, which is read once; nobody where nothing is sent by TLS.

        Raises:
            UnreachableError: The environment names certificates that cannot be used.
        """
        if self._trust is None:
            if not any(url.scheme == "https" for url in self._urls.values()):
                return nobody()
            self._trust = own_certificates(os.environ) or _usual()
        return self._trust

    def proxies(self, limits: httpx.Limits) -> Mapping[str, httpx.BaseTransport]:
        """
        Return a transport for each address that goes by a proxy of the environment, as httpx mounts it.

        Raises:
            UnreachableError: The environment names a proxy that cannot be used.
        """
        found = {}
        for url in self._urls.values() if self._proxy is None else ():
            if proxy := proxy_for(_target(url), os.environ):
                found[str(url.copy_with(raw_path=b"/")).rstrip("/")] = _by_proxy(proxy, limits, self.trusted())
        return found

    def words(self, url: httpx.URL, lost: httpx.RequestError) -> str:
        """Name the variables that had a part in a connection that failed, for a sentence; empty: none had."""
        is_untrusted = self._is_usual and "CERTIFICATE_VERIFY_FAILED" in str(lost)
        named = certificates_variable(os.environ) if is_untrusted else None
        proxy = None
        with suppress(UnreachableError):
            proxy = None if self._proxy else proxy_for(_target(url), os.environ)
        by_proxy = f" by the proxy that {proxy.variable} names" if proxy else ""
        return by_proxy + (f" with the certificates that {named} names" if named else "")


def origin(url: httpx.URL) -> tuple[str, str, int | None]:
    """Return what tells one server's address from another's."""
    return url.scheme, url.host, url.port


def nobody() -> ssl.SSLContext:
    """Trust nobody; for what goes over no TLS."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _target(url: httpx.URL) -> Target:
    return Target(url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80))


def _by_proxy(proxy: Proxy, limits: httpx.Limits, verify: ssl.SSLContext) -> httpx.BaseTransport:
    try:
        return httpx.HTTPTransport(proxy=proxy.url, limits=limits, verify=verify, trust_env=False)
    except ImportError:
        why = "a SOCKS proxy needs one more package: pip install 'rembg-watch[socks]'"
    except (ValueError, httpx.InvalidURL):
        why = "its value is no address of a proxy, such as http://proxy.example:3128"
    raise unusable_proxy(proxy.variable, why)  # outside of the handler: the frames of httpx have a proxy's password


def _usual() -> ssl.SSLContext:
    try:
        return httpx.create_ssl_context(trust_env=False)
    except OSError as error:
        why = error.strerror or "they are missing"
    message = f"The usual certificates cannot be used: {why}. Install the package certifi again."
    raise UnreachableError(message=message, code="certificates_unusable")


def _given(verify: Verify) -> ssl.SSLContext:
    if isinstance(verify, bool | ssl.SSLContext):
        return httpx.create_ssl_context(verify=verify, trust_env=False)
    is_folder = Path(verify).is_dir()
    return ssl.create_default_context(cafile=None if is_folder else verify, capath=verify if is_folder else None)
