"""One request on its way, and its answer as it comes in: what the client makes of httpx's requests and errors."""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import chain

import httpx

from rembg_watch.api.connections import Connection, has_more
from rembg_watch.api.cutout import Cutout, Sink
from rembg_watch.api.deadline import Deadline
from rembg_watch.api.encodings import encodings_of, plain, spoken
from rembg_watch.api.errors import (
    BadAnswerError,
    Charge,
    FieldError,
    NoAnswerError,
    RembgError,
    Scope,
    UnreachableError,
)
from rembg_watch.api.headers import rate_limit, request_id
from rembg_watch.api.key import Key
from rembg_watch.api.params import Format
from rembg_watch.api.refusals import BODY_LIMIT_BYTES, classify
from rembg_watch.api.upload import MultipartBody, OnProgress, Progress

LARGEST_ANSWER_BYTES = 512 * 1024 * 1024
"""The largest picture that can be asked for, 10000 x 10000 with alpha as a bitmap, has 400 MB."""

LARGEST_ACCOUNT_BYTES = 4 * 1024 * 1024
_SIGNATURE_BYTES = 12
_ASIDE = "rembg_watch_location"
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


def set_location_aside(response: httpx.Response) -> None:
    """Keep httpx from preparing the request that would follow, with the key in it; it also fails on nonsense."""
    if "location" in response.headers:
        response.extensions[_ASIDE] = response.headers.pop("location")


@contextmanager
def serving(connection: Connection, deadline: Deadline, *, is_new: bool = False) -> Iterator[Connection]:
    """Have *connection* serve one call, with its deadline."""
    connection.begin(deadline, is_new=is_new)
    try:
        yield connection
    finally:
        connection.end()


class Call:
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


class Answer:
    """An answer as it comes in, and who wants to know of it."""

    def __init__(self, response: httpx.Response, key: Key, deadline: Deadline) -> None:
        self.status = response.status_code
        self.headers = {name.lower(): key.hide(value) for name, value in response.headers.items()}
        if _ASIDE in response.extensions:
            self.headers["location"] = key.hide(response.extensions[_ASIDE])
        self.encodings = encodings_of(self.headers)
        self.arrived_at = datetime.now(UTC)
        self._response = response
        self._key = key
        self.deadline = deadline

    def blocks(self, on_progress: OnProgress | None = None) -> Iterator[bytes]:
        """Yield the body as it comes over the wire, with its encodings."""
        stated = self.headers.get("content-length", "")
        total_bytes = int(stated) if re.fullmatch(r"[0-9]{1,15}", stated) else None
        read_bytes = loaded_bytes = 0
        for block in self._wire():  # as it comes: what waits for a full block earns no time
            self.deadline.moved(len(block))
            read_bytes += len(block)
            # what an in-process transport had ready did not come over a wire
            loaded_bytes = self._response.num_bytes_downloaded or read_bytes
            if on_progress:
                on_progress(Progress(loaded_bytes, total_bytes))
            yield block
        if not self.deadline.is_met() or loaded_bytes < (total_bytes or 0):
            # without a stated length, a connection that was cut looks like the end of the answer
            raise httpx.ReadError("the answer broke off")

    def _wire(self) -> Iterator[bytes]:
        """Return the raw body: httpx would undo every encoding, a block at once and however much comes out of it."""
        is_loaded = self._response.is_stream_consumed  # by an in-process transport, which then undid them itself
        return self._response.iter_bytes() if is_loaded else self._response.iter_raw()

    def error(self, blocks: Iterable[bytes] | None = None) -> RembgError:
        """Say which error this answer is, from as much of its body as comes."""
        came = bytearray()
        with suppress(httpx.RequestError):
            for block in self.blocks() if blocks is None else blocks:
                came += block
                if len(came) > BODY_LIMIT_BYTES:
                    break
        body = plain(bytes(came[:BODY_LIMIT_BYTES]), self.encodings, limit_bytes=BODY_LIMIT_BYTES)
        if body is None:
            return self.encoded_error()
        error = classify(self.status, self.headers, body, now=self.arrived_at)
        # judged as it came, since a key may be one of its words; repeated without the key
        shown = classify(self.status, self.headers, self._key.hide_in(body), now=self.arrived_at)
        error.message, error.details, error.field = shown.message, shown.details, shown.field
        return error

    def encoded_error(self) -> RembgError:
        """
        Say that the answer has an encoding that nobody asked for and that is not undone.

        A success may have been charged, as every success that brings no picture. The next
        picture would meet the same, so it concerns the service.
        """
        if self.status < 300:
            error: RembgError = NoAnswerError(
                message="",
                code="answer_not_decodable",
                status=self.status,
                scope=Scope.SERVICE,
                request_id=request_id(self.headers),
                rate_limit=rate_limit(self.headers, now=self.arrived_at),
            )
        else:
            error = classify(self.status, self.headers, b"", now=self.arrived_at)
        error.message = (
            f"The API answered {self.status} with a body that is encoded ({spoken(self.encodings)}), although it was "
            "asked not to be: find out what does that on the way, such as a proxy or gateway, and switch it off there."
        )
        return error


def cutout_of(answer: Answer, sink: Sink, on_download: OnProgress | None) -> Cutout:
    """Read an answer that should be a picture into *sink*; raise what it says if it is none."""
    if answer.status != 200:
        raise answer.error()
    if answer.encodings:
        raise answer.encoded_error()
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
        elapsed_s=answer.deadline.elapsed_s,
    )


def json_of(answer: Answer) -> object:
    """Read an answer about the account; raise what it says if it is none."""
    if answer.status != 200:
        raise answer.error()
    body = b""
    for block in answer.blocks():
        body += block
        if len(body) > LARGEST_ACCOUNT_BYTES:
            raise _too_large("The answer about the account is endless.")
    found = plain(body, answer.encodings, limit_bytes=LARGEST_ACCOUNT_BYTES + 1)
    if found is None:
        raise answer.encoded_error()
    if len(found) > LARGEST_ACCOUNT_BYTES:
        raise _too_large("The answer about the account is endless.")
    with suppress(ValueError, RecursionError):
        return json.loads(found)
    raise answer.error([body])


def _too_large(message: str) -> BadAnswerError:
    return BadAnswerError(message=message, code="answer_too_large", status=200)


def lost_error(lost: httpx.RequestError, call: Call, *, way: str = "") -> RembgError:
    """
    Say what a broken connection means: whether the body had wholly left decides.

    Args:
        lost: What httpx says.
        call: What was under way.
        way: Which proxy and certificates of the environment it went by, for the sentence.
    """
    code, words = _CODES.get(type(lost), "connection_lost"), str(lost).rstrip(".") or type(lost).__name__
    if not call.deadline.is_met():
        code, words = "deadline_passed", "it took too long"
    host = host_of(call.request.url) + way
    if call.body is None:
        return UnreachableError(message=f"No answer came from {host}: {words}.", code=code)
    if call.body.is_handed_over:
        message = f"The picture was sent to {host}, but no whole answer came: {words}."
        return NoAnswerError(message=message, code=code)
    return UnreachableError(message=f"The picture could not be sent to {host}: {words}.", code=code)


def make_presentable(error: RembgError, key: Key, body: MultipartBody | None) -> None:
    """Take the key out of *error*, and the doubt where the body never left whole."""
    if error.charge is Charge.MAYBE and body is not None and not body.is_handed_over and error.status != 200:
        error.charge = Charge.NO
    error.message = key.hide(error.message)
    error.args = (error.message,)
    error.details = tuple(FieldError(one.field and key.hide(one.field), key.hide(one.message)) for one in error.details)
    error.field = error.field and key.hide(error.field)


def host_of(url: httpx.URL) -> str:
    """Name the host of an address, with its port if that is not the usual one."""
    return url.netloc.decode("ascii", "replace")
