"""
The client: a request from values, over the wire, and the answer back into a value or an error.

It sends each request once. Whether, when and how often to try again is for the caller
to decide, who pays. This is the only module that knows httpx.
"""

import json
import os
import re
import ssl
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import httpx

from rembg_watch.api.connections import KEPT_S, Connection, Connections, has_more
from rembg_watch.api.cutout import Cutout, Destination, Sink, TempCutout, sink_for, temporary_file
from rembg_watch.api.deadline import Deadline
from rembg_watch.api.errors import (
    BODY_LIMIT_BYTES,
    BadAnswerError,
    Charge,
    FieldError,
    InvalidRequestError,
    NoAnswerError,
    RembgError,
    Scope,
    UnreachableError,
    classify,
)
from rembg_watch.api.headers import rate_limit, request_id
from rembg_watch.api.key import Key
from rembg_watch.api.params import Format, RemovalParams, usage_query
from rembg_watch.api.responses import Account, BillingPeriod, account_from, billing_periods_from
from rembg_watch.api.upload import BodyCutOffError, Image, MultipartBody, OnProgress, Progress, open_source

API_URL = "https://api.rembg.com/rmbg"
USAGE_URL = "https://www.rembg.com/api/membership-usage"

LONGEST_CONNECT_S = 20.0
LARGEST_ANSWER_BYTES = 512 * 1024 * 1024
"""The largest picture that can be asked for, 10000 x 10000 with alpha as a bitmap, has 400 MB."""

LARGEST_ACCOUNT_BYTES = 4 * 1024 * 1024
_SIGNATURE_BYTES = 12
_ASIDE = "rembg_watch_location"
_T = TypeVar("_T")
Verify = bool | str | os.PathLike[str] | ssl.SSLContext
_CODES: dict[type[httpx.RequestError], str] = {
    httpx.ConnectTimeout: "connect_timeout",
    httpx.ReadTimeout: "answer_timeout",
    httpx.WriteTimeout: "upload_timeout",
    httpx.PoolTimeout: "no_free_connection",
    httpx.ConnectError: "connect_failed",
    httpx.ReadError: "connection_lost",
    httpx.WriteError: "connection_lost",
    httpx.CloseError: "connection_lost",
    httpx.ProxyError: "proxy_failed",
    httpx.RemoteProtocolError: "answer_broken_off",
    httpx.DecodingError: "answer_not_decodable",
}


class Client:
    """
    The Rembg API, one method for each thing that it does.

    Safe to share between threads. A connection is kept for the next picture for
    ``connections.KEPT_S``; one that dies meanwhile is noticed before the picture has left
    whole, and the picture is sent over a new one. The key goes to the two
    given addresses alone, is in no message, and no redirect is followed. Proxies and
    ``SSL_CERT_FILE`` in the environment are honoured as httpx does.

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
        InvalidRequestError: The key, an address or a proxy cannot be used.
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
        problem = ""  # raised outside of the handler: the frames of httpx have a proxy's password
        try:
            self._trust = None if transport else _trust(verify)
            self._http = self._opened(httpx.Limits(max_connections=max_connections, max_keepalive_connections=0))
            self._connections = None if transport else Connections(self._kept, max_connections)
        except (OSError, ImportError) as why:
            problem = f"The connection cannot be set up: {why}."
        except (ValueError, httpx.InvalidURL):  # its words may quote a part of the proxy's password
            problem = "The connection cannot be set up: the address of a proxy, given or in the environment, is wrong."
        if problem:
            raise _unusable(problem, "client_settings")

    def _kept(self) -> Connection:
        """Make one more connection that is kept, with a client of its own."""
        http = self._opened(httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEPT_S))
        return Connection(http)

    def _opened(self, limits: httpx.Limits) -> httpx.Client:
        return _WithoutCookies(
            auth=_KeyForOrigins(self._key, [self._url, self._usage_url]),
            transport=self._transport,
            proxy=self._proxy,
            verify=True if self._trust is None else self._trust,
            timeout=httpx.Timeout(self._timeout_s, connect=min(self._timeout_s, LONGEST_CONNECT_S)),
            limits=limits,
            headers={
                "user-agent": f"rembg-watch httpx/{httpx.__version__}",
                "accept-encoding": "identity",
                "connection": "keep-alive" if limits.max_keepalive_connections else "close",
            },
            follow_redirects=False,
            event_hooks={"response": [_set_location_aside]},
            http2=False,
        )

    def __repr__(self) -> str:
        return f"Client({str(self._url)!r}, api_key={self._key!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give up all connections; the client cannot be used again."""
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
                file; None returns the bytes in the cutout.
            on_upload: Told how much of the request has left.
            on_download: Told how much of the answer has come.
            on_last_byte: Called once, just before the last block of the body leaves.
                If it raises, the request is cut off: the API cannot process it. It may
                take its time: the clock of the call stands still.

        Raises:
            RembgError: Of the kind that says what happened; see ``api.errors``.
            BaseException: What a callback raised, as it was raised.
        """
        form = (params or RemovalParams()).form_fields()

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
            headers = {"accept": "image/*", "content-type": body.content_type, "content-length": str(body.length_bytes)}
            request = connection.http.build_request("POST", self._url, headers=headers, content=body)
            call = _Call(connection, request, deadline, body)
            return self._exchange(call, lambda answer: _cutout(answer, sink, on_download))

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
        with Deadline(self._timeout_s) as deadline, _serving(Connection(self._http), deadline) as connection:
            url = self._usage_url.copy_merge_params(query)
            request = self._http.build_request("GET", url, headers={"accept": "application/json"})
            try:
                return self._exchange(_Call(connection, request, deadline), lambda answer: read(_json(answer)))
            except RembgError as error:
                error.charge = Charge.NO  # reading the account is free, however it ends
                error.scope = Scope.SERVICE if error.scope is Scope.PICTURE else error.scope  # there is none
                raise

    @contextmanager
    def _connected(self, deadline: Deadline, *, is_new: bool) -> Iterator[Connection]:
        """Lend a connection for one call; a transport that was given has connections of its own."""
        if self._connections is None:
            with _serving(Connection(self._http), deadline) as connection:
                yield connection
            return
        taken = self._connections.take(self._timeout_s)
        if taken is None:
            host = _host(self._url)
            message = f"The picture could not be sent to {host}: all connections were taken for too long."
            raise UnreachableError(message=message, code="no_free_connection")
        try:
            with _serving(taken, deadline, is_new=is_new) as connection:
                yield connection
        finally:
            self._connections.put_back(taken)

    def _exchange(self, call: "_Call", receive: Callable[["_Answer"], _T]) -> _T:
        """
        Send a request and return what *receive* makes of the answer.

        Errors are raised outside of the handlers, so that none drags along one of
        httpx: its frames and its request know the key.
        """
        failure: BaseException | None
        try:
            response = call.send()
            answer = _Answer(response, self._key, call.deadline)
            try:
                return receive(answer)
            finally:
                call.close(response)
        except BodyCutOffError:
            failure = call.body.failure if call.body else None
        except httpx.RequestError as lost:
            failure = _lost(lost, call)
        except RembgError as known:
            failure = known
        if isinstance(failure, RembgError):
            _settle(failure, self._key, call.body)
            failure = failure.with_traceback(None)  # the frames it passed have the answer as it came
        assert failure is not None
        raise failure


@contextmanager
def _serving(connection: Connection, deadline: Deadline, *, is_new: bool = False) -> Iterator[Connection]:
    connection.begin(deadline, is_new=is_new)
    try:
        yield connection
    finally:
        connection.end()


class _Call:
    """One request on its way over one connection."""

    def __init__(
        self, connection: Connection, request: httpx.Request, deadline: Deadline, body: MultipartBody | None = None
    ) -> None:
        request.extensions["trace"] = connection.trace
        self.connection = connection
        self.request = request
        self.deadline = deadline
        self.body = body

    def send(self) -> httpx.Response:
        """
        Send the request and return the answer's head.

        A kept connection that turns out to be dead before the last block was let go is no
        news about the API: the request is sent once more, over a new one.
        """
        response: httpx.Response | None = None
        try:
            response = self._send()
        except (httpx.NetworkError, httpx.RemoteProtocolError):
            self.connection.was_left |= self.connection.is_reused and not self.deadline.is_passed
            if not self._is_to_be_sent_again():
                raise
        if response is not None:
            if not (_is_of_another(response) and self._is_to_be_sent_again()):
                return response
            self.connection.was_left = True
            self.close(response)
        if self.body is not None:
            self.body.rewind()
        return self._send()

    def _send(self) -> httpx.Response:
        return self.connection.http.send(self.request, stream=True)

    def _is_to_be_sent_again(self) -> bool:
        if self.body is None or self.deadline.is_passed:
            return False
        return self.connection.is_reused and self.body.can_be_sent_again

    def close(self, response: httpx.Response) -> None:
        """Have done with *response*; what it leaves behind must not meet the next one."""
        is_all_sent = self.body is None or self.body.is_handed_over
        should_stand = is_all_sent and _leaves_connection(response) and not self.deadline.is_passed
        with suppress(httpx.HTTPError):
            response.close()
        if has_more(response):
            self.connection.hang_up()
        elif should_stand and not self.connection.stands:
            self.connection.was_left = True


def _leaves_connection(response: httpx.Response) -> bool:
    """Say whether *response* was read to its end, and its sender promised to serve the next call too."""
    is_last = "close" in response.headers.get("connection", "").lower()
    return response.is_closed and response.http_version == "HTTP/1.1" and not is_last


def _is_of_another(response: httpx.Response) -> bool:
    """Say whether this can be no answer to a request that is not yet whole: a success, or a wait that was too long."""
    return response.is_success or response.status_code == 408


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
        self._origins = {_origin(url) for url in urls}

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the header at the last moment before sending."""
        if _origin(request.url) in self._origins:
            request.headers["x-api-key"] = self._key.reveal()
        yield request


def _set_location_aside(response: httpx.Response) -> None:
    """Keep httpx from preparing the request that would follow, with the key in it; it also fails on nonsense."""
    if "location" in response.headers:
        response.extensions[_ASIDE] = response.headers.pop("location")


class _Answer:
    """An answer as it comes in, and who wants to know of it."""

    def __init__(self, response: httpx.Response, key: Key, deadline: Deadline) -> None:
        self.status = response.status_code
        self.headers = {name.lower(): key.hide(value) for name, value in response.headers.items()}
        if _ASIDE in response.extensions:
            self.headers["location"] = key.hide(response.extensions[_ASIDE])
        self.arrived_at = datetime.now(UTC)
        self._response = response
        self._key = key
        self._deadline = deadline

    @property
    def elapsed_s(self) -> float:
        """Seconds since the call began."""
        return self._deadline.elapsed_s

    def blocks(self, on_progress: OnProgress | None = None) -> Iterator[bytes]:
        """Yield the body as it comes."""
        stated = self.headers.get("content-length", "")
        total_bytes = int(stated) if re.fullmatch(r"[0-9]{1,15}", stated) else None
        read_bytes = loaded_bytes = 0
        for block in self._response.iter_bytes():  # as it comes: what waits for a full block earns no time
            self._deadline.moved(len(block))
            read_bytes += len(block)
            # what an in-process transport had ready did not come over a wire
            loaded_bytes = self._response.num_bytes_downloaded or read_bytes
            if on_progress:
                on_progress(Progress(loaded_bytes, total_bytes))
            yield block
        if not self._deadline.is_met() or loaded_bytes < (total_bytes or 0):
            # without a stated length, a connection that was cut looks like the end of the answer
            raise httpx.ReadError("the answer broke off")

    def error(self, blocks: Iterable[bytes] | None = None) -> RembgError:
        """Say which error this answer is, from as much of its body as comes."""
        body = bytearray()
        with suppress(httpx.RequestError):
            for block in self.blocks() if blocks is None else blocks:
                body += block
                if len(body) > BODY_LIMIT_BYTES:
                    break
        error = classify(self.status, self.headers, bytes(body), now=self.arrived_at)
        # judged as it came, since a key may be one of its words; repeated without the key
        told = classify(self.status, self.headers, self._key.hide_in(bytes(body)), now=self.arrived_at)
        error.message, error.details, error.field = told.message, told.details, told.field
        return error


def _cutout(answer: _Answer, sink: Sink, on_download: OnProgress | None) -> Cutout:
    if answer.status != 200:
        raise answer.error()
    blocks = answer.blocks(on_download)
    head = b""
    while len(head) < _SIGNATURE_BYTES and (block := next(blocks, b"")):
        head += block
    kind = Format.of(head)
    if kind is None:
        raise answer.error(chain([head], blocks))
    for block in chain([head], blocks):
        sink.write(block)
        if sink.size_bytes > LARGEST_ANSWER_BYTES:
            raise _too_large("The answer is larger than any picture can be.")
    return sink.cutout(
        content_type=kind.content_type,
        request_id=request_id(answer.headers),
        rate_limit=rate_limit(answer.headers, now=answer.arrived_at),
        elapsed_s=answer.elapsed_s,
    )


def _json(answer: _Answer) -> object:
    if answer.status != 200:
        raise answer.error()
    body = b""
    for block in answer.blocks():
        body += block
        if len(body) > LARGEST_ACCOUNT_BYTES:
            raise _too_large("The answer about the account is endless.")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        pass
    raise answer.error([body])


def _too_large(message: str) -> BadAnswerError:
    return BadAnswerError(message=message, code="answer_too_large", status=200)


def _lost(lost: httpx.RequestError, call: _Call) -> RembgError:
    """Say what a broken connection means: whether the body had wholly left decides."""
    code, words = _CODES.get(type(lost), "connection_lost"), str(lost).rstrip(".") or type(lost).__name__
    if not call.deadline.is_met():
        code, words = "deadline_passed", "it took too long"
    host = _host(call.request.url)
    if call.body is None:
        return UnreachableError(message=f"No answer came from {host}: {words}.", code=code)
    if call.body.is_handed_over:
        message = f"The picture was sent to {host}, but no whole answer came: {words}."
        return NoAnswerError(message=message, code=code)
    return UnreachableError(message=f"The picture could not be sent to {host}: {words}.", code=code)


def _settle(error: RembgError, key: Key, body: MultipartBody | None) -> None:
    """Take the key out of *error*, and the doubt where the body never left whole."""
    if error.charge is Charge.MAYBE and body is not None and not body.is_handed_over and error.status != 200:
        error.charge = Charge.NO
    error.message = key.hide(error.message)
    error.args = (error.message,)
    error.details = tuple(FieldError(one.field and key.hide(one.field), key.hide(one.message)) for one in error.details)
    error.field = error.field and key.hide(error.field)


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


def _host(url: httpx.URL) -> str:
    return url.netloc.decode("ascii", "replace")


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _trust(verify: Verify) -> ssl.SSLContext:
    if isinstance(verify, bool | ssl.SSLContext):
        return httpx.create_ssl_context(verify=verify)
    is_folder = Path(verify).is_dir()
    return ssl.create_default_context(cafile=None if is_folder else verify, capath=verify if is_folder else None)


def _unusable(message: str, code: str, field: str | None = None) -> InvalidRequestError:
    return InvalidRequestError(message=message, code=code, scope=Scope.SERVICE, field=field)
