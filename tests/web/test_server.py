"""Where the page listens, whether it may, and what its process holds: real sockets and real processes."""

import re
import signal
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil
import pytest

from rembg_watch.config.telling import WebSettings
from rembg_watch.errors import ConfigError, ExitCode
from rembg_watch.web.login import HeaderLogin, NoLogin, PasswordLogin
from rembg_watch.web.server import cache_dir, login_of
from tests.web.running import Running, environment, running
from tests.web.studio import Studio

KEY = "kkkkkkkk-secret-key-kkkkkkkk"


@pytest.fixture
def house(tmp_path: Path) -> Studio:
    studio = Studio(tmp_path / "studio", web='listen = "127.0.0.1:0"')
    with studio.open() as ledger:
        studio.drop(ledger, "acme/1.jpg", "acme/2.jpg")
        studio.deliver(ledger, 2)
    return studio


@pytest.fixture
def page(house: Studio, tmp_path: Path) -> Iterator[Running]:
    with running(house.config, home=tmp_path) as page:
        yield page


# --- may it listen there --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"listen": "0.0.0.0:8787"}, "would show the pictures to everybody"),
        ({"listen": "[::]:8787"}, "would show the pictures to everybody"),
        ({"listen": "studio.example:8787"}, "would show the pictures to everybody"),
        ({"auth": "password"}, "there is no password"),
        ({"auth": "password", "password_file": "/nowhere/at/all"}, "there is no password"),
        ({"auth": "header"}, "anybody could say to be anybody"),
    ],
)
def test_what_is_not_safe_is_refused_and_says_what_to_do(settings: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        login_of(WebSettings(**settings), {})  # type: ignore[arg-type]


def test_an_empty_password_lets_nobody_in(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(" \n")
    with pytest.raises(ConfigError, match="is empty"):
        login_of(WebSettings(auth="password", password_file=tmp_path / "password"), {})


def test_what_may_be_served_is(tmp_path: Path) -> None:
    (tmp_path / "web_password").write_text("right\n")
    given = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert isinstance(login_of(WebSettings(), {}), NoLogin)
    assert isinstance(login_of(WebSettings(listen="unix:/run/x.sock"), {}), NoLogin)
    found = login_of(WebSettings(listen="0.0.0.0:8787", auth="password"), given)
    assert isinstance(found, PasswordLogin)
    assert found.user({"authorization": "Basic " + b64encode(b"ann:right").decode()}, None) == "ann"
    proxied = WebSettings(listen="unix:/run/x.sock", auth="header")
    assert isinstance(login_of(proxied, {}), HeaderLogin)


@pytest.mark.parametrize(
    ("web", "words"),
    [
        ('listen = "0.0.0.0:0"', "would show the pictures to everybody"),
        ('auth = "password"', "there is no password"),
        ('auth = "paswrd"', "auth"),
        ('listen = "8787"', "must be an address and a port"),
    ],
)
def test_a_wrong_setting_ends_with_78_and_nothing_listens(tmp_path: Path, web: str, words: str) -> None:
    studio = Studio(tmp_path / "studio", web=web)
    ended = subprocess.run(
        [sys.executable, "-m", "rembg_watch", "web", "-c", str(studio.config)],
        env=environment(tmp_path), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (ended.returncode, words in ended.stderr, ended.stdout) == (ExitCode.CONFIG, True, "")


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        studio = Studio(tmp_path / "studio", web=f'listen = "127.0.0.1:{other.getsockname()[1]}"')
        ended = subprocess.run(
            [sys.executable, "-m", "rembg_watch", "web", "-c", str(studio.config)],
            env=environment(tmp_path), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert (ended.returncode, "Address already in use" in ended.stderr) == (ExitCode.CONFIG, True)


# --- how it listens -------------------------------------------------------------------------------


def test_over_a_socket_of_the_file_system(house: Studio, tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    house.config.write_text(house.config.read_text().replace("127.0.0.1:0", f"unix:{path}"))
    for _ in range(2):  # the second time, the first one's socket lies there
        with running(house.config, home=tmp_path) as page:
            assert page.url == f"unix:{path}"
            assert path.stat().st_mode & 0o777 == 0o660
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://localhost") as client:
                assert client.get("/pictures").status_code == 200
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://evil.example") as client:
                assert client.get("/pictures").status_code == 403


def test_on_a_socket_that_systemd_hands_over(house: Studio, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as handed:
        port = handed.getsockname()[1]
        house.config.write_text(house.config.read_text().replace("127.0.0.1:0", f"127.0.0.1:{port}"))
        script = (
            "import os, sys; fd = int(sys.argv.pop(1)); os.dup2(fd, 3); os.set_inheritable(3, True); "
            "os.environ |= {'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': '1'}; "
            "os.execv(sys.executable, [sys.executable, '-m', 'rembg_watch', 'web', '-c', sys.argv[1]])"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(handed.fileno()), str(house.config)],
            pass_fds=[handed.fileno()], env=environment(tmp_path), stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("listening on ")
            assert httpx.get(f"http://127.0.0.1:{port}/livez").text == "alive"
        finally:
            process.terminate()
            process.communicate(timeout=30)


def test_several_daemons_are_named_by_their_files(tmp_path: Path) -> None:
    north = Studio(tmp_path / "north", web='listen = "127.0.0.1:0"')
    south = Studio(tmp_path / "south")
    for one, name in ((north, "north"), (south, "south")):
        one.open().close()
        one.config.rename(one.root / f"{name}.toml")
    configs = (north.root / "north.toml", south.root / "south.toml")
    with running(*configs, home=tmp_path) as page, httpx.Client(base_url=page.url) as client:
        assert client.get("/south/").status_code == 200
        assert 'href="/north/"' in client.get("/").text


# --- what its process holds -----------------------------------------------------------------------


def test_the_key_is_nowhere_in_the_process(house: Studio, tmp_path: Path) -> None:
    (tmp_path / "api_key").write_text(KEY)
    house.config.write_text(house.config.read_text() + f'\n[api]\nkey_file = "{tmp_path / "api_key"}"\n')
    given = {"REMBG_WATCH_API__KEY": KEY}
    with running(house.config, home=tmp_path, more=given) as page, httpx.Client(base_url=page.url) as client:
        answers = [client.get(path) for path in ("/", "/pictures/1", "/pictures/1/after/small", "/api/v1/status")]
        assert [one.status_code for one in answers] == [200] * 4
        assert not any(KEY in one.text or KEY in str(one.headers) for one in answers)
        family = [psutil.Process(page.process.pid), *psutil.Process(page.process.pid).children(recursive=True)]
        assert len(family) >= 2, "a decoder is among them"
        for one in family:
            assert KEY.encode() not in _memory(one.pid)
            assert KEY.encode() not in Path(f"/proc/{one.pid}/environ").read_bytes()
            assert not any("api_key" in file.path for file in one.open_files())


def _memory(pid: int) -> bytes:
    found = bytearray()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            area = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if area:
                start, end = (int(one, 16) for one in area.groups())
                with ExitStack() as stack:
                    stack.callback(lambda: None)
                    try:
                        memory.seek(start)
                        found += memory.read(end - start)
                    except (OSError, ValueError, OverflowError):
                        continue
    assert len(found) > 5_000_000
    return bytes(found)


def test_nothing_is_written_but_the_cache(house: Studio, page: Running, tmp_path: Path) -> None:
    def stands() -> dict[str, tuple[int, int]]:
        ours = [path for path in house.root.rglob("*") if not path.name.endswith(("-wal", "-shm"))]
        return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in ours if path.is_file()}

    before = stands()
    with httpx.Client(base_url=page.url) as client:
        for path in ("/", "/shoots", "/pictures", "/pictures/1", "/pictures/1/before/small", "/credits", "/failed"):
            assert client.get(path).status_code == 200
    assert stands() == before
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


# --- who does not behave --------------------------------------------------------------------------


def test_five_hundred_who_say_nothing_do_not_stop_the_others(page: Running) -> None:
    with ExitStack() as stack:
        for number in range(500):
            slow = stack.enter_context(socket.create_connection(("127.0.0.1", page.port), timeout=10))
            slow.sendall(b"GET / HTTP/1.1\r\nHost: loc"[: number % 26])
        begin = time.monotonic()
        assert httpx.get(f"{page.url}livez", timeout=5).text == "alive"
        assert httpx.get(f"{page.url}pictures", timeout=5).status_code == 200
        assert time.monotonic() - begin < 2


def test_a_wall_of_pictures_leaves_the_pages_alone(page: Running) -> None:
    with ThreadPoolExecutor(40) as pool, httpx.Client(base_url=page.url, timeout=60) as client:
        walls = [pool.submit(client.get, f"/pictures/{1 + n % 2}/before/whole?{n}") for n in range(120)]
        slowest = 0.0
        while not all(one.done() for one in walls):
            begin = time.monotonic()
            assert client.get("/livez").text == "alive"
            slowest = max(slowest, time.monotonic() - begin)
        assert {one.result().status_code for one in walls} == {200}
    assert slowest < 2


def test_a_request_that_is_no_http_or_too_long_is_refused(page: Running) -> None:
    for said in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", page.port), timeout=10) as odd:
            odd.sendall(said)
            odd.shutdown(socket.SHUT_WR)
            assert odd.recv(4096).startswith((b"HTTP/1.1 400", b""))
    assert httpx.get(f"{page.url}livez").text == "alive"


def test_two_hosts_in_one_request_are_refused(page: Running) -> None:
    with socket.create_connection(("127.0.0.1", page.port), timeout=10) as odd:
        odd.sendall(f"GET / HTTP/1.1\r\nHost: localhost:{page.port}\r\nHost: evil.example\r\n\r\n".encode())
        assert odd.recv(4096).startswith((b"HTTP/1.1 400", b"HTTP/1.1 403"))


def test_it_ends_when_it_is_told_to_though_somebody_is_connected(page: Running) -> None:
    with socket.create_connection(("127.0.0.1", page.port)):
        page.process.send_signal(signal.SIGTERM)
        page.process.wait(15)


# --- where small pictures are kept ----------------------------------------------------------------


def test_the_cache_is_where_systemd_or_the_user_keeps_such_things(tmp_path: Path) -> None:
    assert cache_dir({"CACHE_DIRECTORY": f"{tmp_path / 'a'}:/other"}) == tmp_path / "a"
    assert cache_dir({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "rembg-watch"
    assert cache_dir({"HOME": str(tmp_path)}) == tmp_path / ".cache" / "rembg-watch"
    assert cache_dir({}) is None
    (tmp_path / "file").write_text("")
    assert cache_dir({"CACHE_DIRECTORY": str(tmp_path / "file" / "x")}) is None
    assert list((tmp_path / "a").iterdir()) == []
