"""
The client: a request from values, over the wire, and the answer back into a value or an error.

It sends each request once. Whether, when and how often to try again is for the caller
to decide, who pays. Beside ``exchange`` and ``ways`` it is the only module that knows httpx.
"""

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Self, TypeVar

import httpx

from rembg_watch.api.connections import KEPT_S, Connection, Connections
from rembg_watch.api.cutout import Cutout, Destination, TempCutout, sink_for, temporary_file
from rembg_watch.api.deadline import Deadline
from rembg_watch.api.errors import Charge, InvalidRequestError, RembgError, Scope, UnreachableError
from rembg_watch.api.exchange import (
    Answer,
    Call,
    cutout_of,
    host_of,
    json_of,
    lost_error,
    make_presentable,
    serving,
    set_location_aside,
)
from rembg_watch.api.key import Key
from rembg_watch.api.params import RemovalParams, usage_query
from rembg_watch.api.responses import Account, BillingPeriod, account_from, billing_periods_from
from rembg_watch.api.upload import BodyCutOffError, Image, MultipartBody, OnProgress, open_source
from rembg_watch.api.ways import Verify, Ways, nobody, origin

API_URL = "https://api.rembg.com/rmbg"
USAGE_URL = "https://www.rembg.com/api/membership-usage"

LONGEST_CONNECT_S = 20.0

_T = TypeVar("_T")


class Client:
    """
    The Rembg API, one method for each thing that it does.

    Safe to share between threads. A connection is kept for the next picture for
    ``connections.KEPT_S``; one that dies meanwhile is noticed before the picture has left
    whole, and the picture is sent over a new one. The key goes to the two
    given addresses alone, is in no message, and no redirect is followed. Proxies and
    ``SSL_CERT_FILE`` in the environment are honoured; what is wrong with them fails the
    calls, not the constructor (``environment``).

    Args:
        api_key: The key; white space around it is dropped.
        url: Where pictures are sent.
        usage_url: Where the account is read.
        timeout_s: The longest silence, and the longest call beyond what its bytes
            take at ``deadline.SLOWEST_BYTES_PER_S``; the clock starts anew when the body has left.
        transport: Another way to send, for tests and the sandbox; proxies, certificates and
            connection limits are then its own.
        proxy: A proxy for all requests, over what the environment says.
        verify: False trusts any certificate; a path is a file or folder of own CAs.
        max_connections: How many calls may be on their way at once.
        checks_pictures: Refuse a picture here that the API would refuse by size, ending or signature.

    Raises:
        InvalidRequestError: The key, an address, the proxy or the certificates that were given cannot be used.
    """

    def __init__(
        self,
        api_key: str,
        *,
        url: str = API_URL,
        usage_url: str = USAGE_URL,
        timeout_s: float = 120.0,
        transport: httpx.BaseTransport | None = None,
        proxy: str | None = None,
        verify: Verify = True,
        max_connections: int = 100,
        checks_pictures: bool = True,
    ) -> None:
        self._key = Key(api_key)
        del api_key  # no frame above a failure may show it
        self._url = _address(url, "url")
        self._usage_url = _address(usage_url, "usage_url")
        self._timeout_s = timeout_s
        self._checks_pictures = checks_pictures
        self._transport = transport
        self._proxy = proxy
        self._max_connections = max_connections
        self._http: httpx.Client | None = None
        problem = ""  # raised outside of the handler: the frames of httpx have a proxy's password
        try:
            self._ways = None if transport else Ways([self._url, self._usage_url], proxy=proxy, verify=verify)
        except (OSError, ImportError) as why:
            problem = f"The connection cannot be set up: {why}."
        except (ValueError, httpx.InvalidURL):  # its words may quote a part of the proxy's password
            problem = "The connection cannot be set up: the address of the proxy is wrong."
        if problem:
            raise _unusable(problem, "client_settings")
        with suppress(UnreachableError):  # the environment: it may be mended, and each call says what is wrong
            self._account_http()
        self._connections = None if transport else Connections(self._kept, max_connections)

    def _kept(self) -> Connection:
        """Make one more connection that is kept, with a client of its own."""
        http = self._opened(httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEPT_S))
        return Connection(http)

    def _account_http(self) -> httpx.Client:
        """
        Return the client for the account, and for a transport that was given.

        Raises:
            UnreachableError: The environment names a proxy or certificates that cannot be used.
        """
        if self._http is None:
            limits = httpx.Limits(max_connections=self._max_connections, max_keepalive_connections=0)
            self._http = self._opened(limits)
        return self._http

    def _opened(self, limits: httpx.Limits) -> httpx.Client:
        return _WithoutCookies(
            auth=_KeyForOrigins(self._key, [self._url, self._usage_url]),
            transport=self._transport,
            proxy=self._proxy,
            mounts=self._ways.proxies(limits) if self._ways else None,
            verify=self._ways.trusted() if self._ways else nobody(),
            trust_env=False,
            timeout=httpx.Timeout(self._timeout_s, connect=min(self._timeout_s, LONGEST_CONNECT_S)),
            limits=limits,
            headers={
                "user-agent": f"rembg-watch httpx/{httpx.__version__}",
                "accept-encoding": "identity",
                "connection": "keep-alive" if limits.max_keepalive_connections else "close",
            },
            follow_redirects=False,
            event_hooks={"response": [set_location_aside]},
            http2=False,
        )

    def __repr__(self) -> str:
        return f"Client({str(self._url)!r}, api_key={self._key!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up all connections; the client cannot be used again."""
        if self._http is not None:
            self._http.close()
        if self._connections is not None:
            self._connections.close()

    def remove_background(
        self,
        image: Image,
        params: RemovalParams | None = None,
        *,
        filename: str | None = None,
        destination: Destination | None = None,
        on_upload: OnProgress | None = None,
        on_download: OnProgress | None = None,
        on_last_byte: Callable[[], object] | None = None,
    ) -> Cutout:
        """
        Send one picture and return its cutout. This costs credits.

        Nothing of the picture or of the answer is held in memory but a few blocks,
        unless it came or is wanted as bytes.

        Args:
            image: A path, bytes, ``Base64`` or an open binary file, read from where it stands.
            params: What is asked for; all at their defaults if left out.
            filename: The name to send in place of the file's own.
            destination: A path, which is written whole or not at all, or an open binary
                file; None returns the bytes in the cutout. The ending of a path says the
                format unless *params* choose one.
            on_upload: Told how much of the request has left.
            on_download: Told how much of the answer has come.
            on_last_byte: Called once, just before the last block of the body leaves.
                If it raises, the request is cut off: the API cannot process it. It may
                take its time: the clock of the call stands still.

        Raises:
            RembgError: Of the kind that says what happened; see ``api.errors``.
            BaseException: What a callback raised, as it was raised.
        """
        wanted = params or RemovalParams()
        if isinstance(destination, str | os.PathLike):
            wanted = wanted.for_ending(Path(destination).suffix)
        form = wanted.form_fields()

        def last_byte() -> None:
            with deadline.paused():
                if on_last_byte:
                    on_last_byte()

        with (
            open_source(image, filename=filename, is_checked=self._checks_pictures) as source,
            sink_for(destination) as sink,
            Deadline(self._timeout_s) as deadline,
            self._connected(deadline, is_new=source.start is None) as connection,
        ):
            body = MultipartBody(
                source,
                form,
                on_last_byte=last_byte,
                is_stopped=connection.stops_if_left,
                on_handed_over=deadline.handed_over,
                on_progress=on_upload,
            )
            call = Call(connection, _request(connection.http, self._url, body), deadline, body)
            return self._exchange(call, lambda answer: cutout_of(answer, sink, on_download))

    def remove_to_tempfile(
        self,
        image: Image,
        params: RemovalParams | None = None,
        *,
        filename: str | None = None,
        on_upload: OnProgress | None = None,
        on_download: OnProgress | None = None,
        on_last_byte: Callable[[], object] | None = None,
    ) -> TempCutout:
        """
        Send one picture and return its cutout in a temporary file.

        ``cleanup()`` or the end of a ``with`` deletes it. Everything else is as in ``remove_background``.
        """
        suffix = (params or RemovalParams()).format.extension
        with temporary_file(suffix) as (file, path):
            cutout = self.remove_background(
                image,
                params,
                filename=filename,
                destination=file,
                on_upload=on_upload,
                on_download=on_download,
                on_last_byte=on_last_byte,
            )
        return TempCutout(replace(cutout, path=path), path)

    def account(
        self, *, year: int | None = None, month: int | None = None, period_start: datetime | int | None = None
    ) -> Account:
        """Read the account with its billing cycle, for now, a month or a billing window. This costs nothing."""
        return self.membership_usage(year=year, month=month, period_start=period_start, expand=("billing_cycle",))

    def membership_usage(
        self,
        *,
        year: int | None = None,
        month: int | None = None,
        period_start: datetime | int | None = None,
        expand: Iterable[str] = (),
        include_billing_cycle: bool = False,
    ) -> Account:
        """
        Read the account, asking exactly as told. This costs nothing.

        Args:
            year: A UTC calendar year; the current one if left out.
            month: A month of it; the current one if left out.
            period_start: The start of a billing window, in place of year and month.
            expand: What to add to the answer; the API knows ``billing_cycle``.
            include_billing_cycle: The same as that flag, in its older spelling.

        Raises:
            InvalidRequestError: The query contradicts itself; nothing was sent.
        """
        query = usage_query(
            year=year,
            month=month,
            period_start=period_start,
            expand=expand,
            include_billing_cycle=include_billing_cycle,
        )
        return self._ask(query, account_from)

    def billing_cycles(self) -> tuple[BillingPeriod, ...]:
        """List the billing windows of the account, newest first. This costs nothing."""
        return self._ask({"listBillingCycles": "1"}, billing_periods_from)

    def _ask(self, query: Mapping[str, str], read: Callable[[object], _T]) -> _T:
        http = self._account_http()
        with Deadline(self._timeout_s) as deadline, serving(Connection(http), deadline) as connection:
            url = self._usage_url.copy_merge_params(query)
            request = http.build_request("GET", url, headers={"accept": "application/json"})
            try:
                return self._exchange(Call(connection, request, deadline), lambda answer: read(json_of(answer)))
            except RembgError as error:
                error.charge = Charge.NO  # reading the account is free, however it ends
                error.scope = Scope.SERVICE if error.scope is Scope.PICTURE else error.scope  # there is none
                raise

    @contextmanager
    def _connected(self, deadline: Deadline, *, is_new: bool) -> Iterator[Connection]:
        """Lend a connection for one call; a transport that was given has connections of its own."""
        if self._connections is None:
            with serving(Connection(self._account_http()), deadline) as connection:
                yield connection
            return
        taken = self._connections.take(self._timeout_s)
        if taken is None:
            host = host_of(self._url)
            message = f"The picture could not be sent to {host}: all connections were taken for too long."
            raise UnreachableError(message=message, code="no_free_connection")
        try:
            with serving(taken, deadline, is_new=is_new) as connection:
                yield connection
        finally:
            self._connections.put_back(taken)

    def _exchange(self, call: "Call", receive: Callable[["Answer"], _T]) -> _T:
        """
        Send a request and return what *receive* makes of the answer.

        Errors are raised outside of the handlers, so that none drags along one of
        httpx: its frames and its request know the key.
        """
        failure: BaseException | None
        try:
            response = call.send()
            answer = Answer(response, self._key, call.deadline)
            try:
                return receive(answer)
            finally:
                call.close(response)
        except BodyCutOffError:
            failure = call.body.failure if call.body else None
        except httpx.RequestError as lost:
            failure = lost_error(lost, call, way=self._ways.words(call.request.url, lost) if self._ways else "")
        except RembgError as known:
            failure = known
        if isinstance(failure, RembgError):
            make_presentable(failure, self._key, call.body)
            failure = failure.with_traceback(None)  # the frames it passed have the answer as it came
        assert failure is not None
        raise failure


def _request(http: httpx.Client, url: httpx.URL, body: MultipartBody) -> httpx.Request:
    """Return what ``http.build_request`` would, which merges the headers: several per cent of a call."""
    own = [
        (b"Accept", b"image/*"),
        (b"Content-Type", body.content_type.encode()),
        (b"Content-Length", b"%d" % body.length_bytes),
    ]
    others = [pair for pair in http.headers.raw if pair[0].lower() != b"accept"]
    return httpx.Request("POST", url, headers=others + own, content=body)


class _NoCookies(httpx.Cookies):
    """A jar that stays empty: a cookie might pass for a user token, and to look for one takes a tenth of a call."""

    def extract_cookies(self, response: httpx.Response) -> None:
        pass


class _WithoutCookies(httpx.Client):
    cookies = _NoCookies(CookieJar(DefaultCookiePolicy(allowed_domains=[])))  # type: ignore[override]  # a property


class _KeyForOrigins(httpx.Auth):
    """Put the key on requests to the known addresses, and on no other."""

    def __init__(self, key: Key, urls: Iterable[httpx.URL]) -> None:
        self._key = key
        self._origins = {origin(url) for url in urls}

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the header at the last moment before sending."""
        if origin(request.url) in self._origins:
            request.headers["x-api-key"] = self._key.reveal()
        yield request


def _address(url: str, name: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
        parsed.host.encode("idna")
        is_usable = (
            parsed.scheme in {"http", "https"}
            and bool(parsed.host)
            and not parsed.userinfo
            and (parsed.port or 0) < 65536
        )
    except (httpx.InvalidURL, UnicodeError, TypeError):
        is_usable = False
    if not is_usable:
        raise _unusable(
            "An address of the API must be http:// or https:// with a host, and no user in it.", "bad_url", name
        )
    return parsed


def _unusable(message: str, code: str, field: str | None = None) -> InvalidRequestError:
    return InvalidRequestError(message=message, code=code, scope=Scope.SERVICE, field=field)
