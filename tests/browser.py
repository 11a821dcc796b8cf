"""A real Chromium, driven by as much of the WebDriver protocol as the tests of pages need."""

import base64
import io
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from PIL import Image

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """As much of the WebDriver protocol as these tests need."""

    def __init__(self, driver_url: str) -> None:
        self._http = httpx.Client(base_url=driver_url, timeout=60)
        flags = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--window-size=1280,1000",
        ]
        wanted = {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": {"args": flags}}}
        session = self._http.post("/session", json={"capabilities": wanted}).json()["value"]
        self._session = f"/session/{session['sessionId']}"

    def call(self, method: str, path: str, **body: Any) -> Any:
        answer = self._http.request(method, self._session + path, json=body if method == "POST" else None)
        value = answer.json()["value"]
        assert answer.status_code == 200, value
        return value

    def open(self, url: str) -> None:
        self.call("POST", "/url", url=url)

    def find(self, css: str) -> str:
        found: str = self.call("POST", "/element", using="css selector", value=css)[ELEMENT]
        return found

    def type(self, css: str, text: str) -> None:
        self.call("POST", f"/element/{self.find(css)}/value", text=text)

    def click(self, css: str) -> None:
        self.run(f"document.querySelector({css!r}).scrollIntoView({{behavior: 'instant', block: 'center'}})")
        self.call("POST", f"/element/{self.find(css)}/click")

    def run(self, script: str) -> Any:
        return self.call("POST", "/execute/sync", script=script, args=[])

    def wait(self, script: str, *, seconds: float = 45) -> Any:
        deadline = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < deadline, (
                f"never true: {script}; the page says {self.run('return document.body.innerText')}"
            )
            time.sleep(0.1)
        return value

    def screenshot(self) -> Image.Image:
        return Image.open(io.BytesIO(base64.b64decode(self.call("GET", "/screenshot")))).convert("RGB")

    def resize(self, width: int, height: int = 1000, *, scale: float = 1) -> None:
        """Make the page so wide, as a phone's is where it is narrow."""
        shape = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
        self.devtools("Emulation.setDeviceMetricsOverride", **shape)

    def prefer(self, scheme: str) -> None:
        """Prefer a light or a dark page."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.devtools("Emulation.setEmulatedMedia", features=features)

    def devtools(self, command: str, **parameters: Any) -> Any:
        return self.call("POST", "/goog/cdp/execute", cmd=command, params=parameters)

    def press(self, key: str) -> None:
        keys = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self.call("POST", "/actions", actions=[{"type": "key", "id": "keyboard", "actions": keys}])

    def complaints(self) -> list[str]:
        """Return what the browser has complained of since it was asked last: scripts refused, files not found."""
        return [one["message"] for one in self.call("POST", "/se/log", type="browser") if one["level"] == "SEVERE"]

    def close(self) -> None:
        self._http.delete(self._session)
        self._http.close()


@contextmanager
def started() -> Iterator[Browser]:
    """Give a browser, and end it; the test is skipped where there is none."""
    driver = shutil.which("chromedriver")
    if not driver or not (shutil.which("chromium") or shutil.which("google-chrome")):
        pytest.skip("there is no Chromium with its driver on this machine (Debian: chromium, chromium-driver)")
    process = subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        opened = Browser(f"http://127.0.0.1:{_port_of(process)}")
        yield opened
        opened.close()
    finally:
        process.terminate()
        process.communicate(timeout=60)


def _port_of(driver: "subprocess.Popen[str]") -> int:
    """Return the port that the driver chose; one that is looked for here may be another program's by then."""
    assert driver.stdout is not None
    for line in driver.stdout:
        if found := re.search(r"started successfully on port (\d+)", line):
            return int(found[1])
    raise AssertionError(f"the driver did not start: {driver.wait(10)}")
