"""Whoever is told, as a server on loopback that Apprise's ``json://`` posts to, and a ping gets."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class People:
    """Hears what is told; answers with *status*, or not at all while it *hangs*."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.pings: list[str] = []
        self.status = 200
        self.goes_on = threading.Event()
        self.goes_on.set()
        people = self

        class Ear(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if people.status == 200:
                    people.told.append({**body, "path": self.path})
                self._answer()

            def do_GET(self) -> None:
                people.pings.append(self.path)
                self._answer()

            def _answer(self) -> None:
                people.goes_on.wait()
                self.send_response(people.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # as it is called there
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Ear)

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    @property
    def titles(self) -> list[str]:
        return [one["title"].partition(": ")[2] for one in self.told]

    @property
    def text(self) -> str:
        return "\n".join(f"{one['title']}\n{one['message']}" for one in self.told)

    def url(self, secret: str = "s3cret-t0ken") -> str:
        return f"json://127.0.0.1:{self.port}/{secret}"

    def write_urls(self, path: Path, *more: str) -> Path:
        path.write_text("\n".join(["# whom to tell", self.url(), "", *more]) + "\n", encoding="utf-8")
        path.chmod(0o600)
        return path


@contextmanager
def listening() -> Iterator[People]:
    people = People()
    thread = threading.Thread(target=people.server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield people
    finally:
        people.goes_on.set()
        people.server.shutdown()
        thread.join()
        people.server.server_close()
