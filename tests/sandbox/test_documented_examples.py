"""The documentation's own examples, verbatim but for host, key and path, against the sandbox."""

import io
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from rembg_watch.sandbox import Sandbox
from rembg_watch.sandbox.server import LoopbackServer

# Printed in the documentation on one line, where the comments would end the command; here one option a line.
CURL = """\
curl -X POST "https://api.rembg.com/rmbg" \\
  -H "x-api-key: YOUR_API_KEY_HERE" \\
  -F "image=@/path/to/image.jpg" \\
  -F "format=webp" \\
  -F "w=800" \\
  -F "h=600" \\
  -F "exact_resize=false" \\
  -F "mask=false" \\
  -F "bg_color=#ffffffff" \\
  -F "angle=0" \\
  -F "expand=true"
"""

USAGE_CURL = """\
curl --location 'https://www.rembg.com/api/membership-usage?{query}' \\
 --header 'x-api-key: YOUR_API_KEY_HERE'
"""
USAGE_QUERIES = [
    "listBillingCycles=1",
    "year=2026&month=3",
    "expand=billing_cycle",
    "periodStartUnix=1774268612&expand=billing_cycle",
]

REQUESTS = """\
import requests
# Endpoint URL for the background-removal API
url = "https://api.rembg.com/rmbg"
# Required API key header
headers = {
"x-api-key": "YOUR_API_KEY_HERE"
}
# The image file to process (opened in binary mode)
files = {
"image": open("/path/to/image.jpg", "rb")
}
# Optional form fields supported by your backend.
# Adjust values as needed; any of these can be omitted.
data = {
"format": "webp", # Output format: "webp" (default) or "png"
"w": 800, # Target width (maintains aspect ratio unless exact_resize is true)
"h": 600, # Target height
"exact_resize": "false", # "true" forces exact w×h, may distort
"mask": "false", # "true" returns only the alpha mask
"bg_color": "#ffffffff", # Optional solid background color (RGBA hex)
"angle": 0, # Rotation angle in degrees
"expand": "true", # Add padding so rotated images aren’t cropped
}
# Send the POST request with headers, file, and extra form data
response = requests.post(url, headers=headers, files=files, data=data)
# Handle the response
if response.status_code == 200:
    # Save the processed image to disk
    with open("output.webp", "wb") as f:
        f.write(response.content)
    print("Background removed successfully → saved as output.webp")
else:
    # Print error details if the request failed
    print("Error:", response.status_code, response.text)
"""

HTTP = """\
POST /rmbg HTTP/1.1
Host: api.rembg.com
x-api-key: YOUR_API_KEY_HERE
Content-Type: multipart/form-data; boundary=----BOUNDARY
"""

PARTS = [
    ("format", "webp"),
    ("w", "800"),
    ("h", "600"),
    ("exact_resize", "false"),
    ("mask", "false"),
    ("bg_color", "#ffffffff"),
    ("angle", "0"),
    ("expand", "true"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[LoopbackServer]:
    with Sandbox(key="a-real-key", engine="fast").serve() as running:
        yield running


def made_local(example: str, server: LoopbackServer, image: Path) -> str:
    """Change host, key and path, and nothing else."""
    return (
        example.replace("https://api.rembg.com", server.base_url)
        .replace("https://www.rembg.com", server.base_url)
        .replace("YOUR_API_KEY_HERE", "a-real-key")
        .replace("/path/to/image.jpg", str(image))
    )


def assert_as_asked(body: bytes) -> None:
    cutout = Image.open(io.BytesIO(body))
    assert (cutout.format, cutout.size, cutout.mode) == ("WEBP", (600, 600), "RGB")
    assert min(cutout.getpixel((3, 3))) > 250  # type: ignore[arg-type, type-var]


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl on this machine")
def test_the_curl_example(server: LoopbackServer, data: Path) -> None:
    command = made_local(CURL, server, data / "packshots" / "mug.jpg").rstrip() + " --silent --noproxy '*'"
    assert_as_asked(subprocess.run(command, shell=True, capture_output=True, check=True, timeout=30).stdout)


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl on this machine")
@pytest.mark.parametrize("query", USAGE_QUERIES)
def test_the_curl_examples_of_the_account(server: LoopbackServer, data: Path, query: str) -> None:
    command = made_local(USAGE_CURL.format(query=query), server, data).rstrip() + " --silent --fail --noproxy '*'"
    answer = subprocess.run(command, shell=True, capture_output=True, check=True, timeout=30).stdout
    assert answer.startswith(b'{"billingCycles"' if "listBillingCycles" in query else b'{"membership"')
    assert (b'"billingCycle"' in answer) is ("expand" in query)


def test_the_python_requests_example(server: LoopbackServer, data: Path, tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(made_local(REQUESTS, server, data / "packshots" / "mug.jpg"), encoding="utf-8")
    environment = {"NO_PROXY": "*", "PYTHONIOENCODING": "utf-8", "PATH": "/usr/bin:/bin"}
    run = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert run.stdout == "Background removed successfully → saved as output.webp\n"
    assert_as_asked((tmp_path / "output.webp").read_bytes())


def test_the_http_example(server: LoopbackServer, data: Path) -> None:
    """Byte by byte as printed, with the empty line that every part needs and the length that HTTP asks for."""
    import socket

    lines = [b'------BOUNDARY\r\nContent-Disposition: form-data; name="image"; filename="image.jpg"']
    lines += [b"Content-Type: image/jpeg\r\n", (data / "packshots" / "mug.jpg").read_bytes()]
    for name, value in PARTS:
        lines += [f'------BOUNDARY\r\nContent-Disposition: form-data; name="{name}"\r\n'.encode(), value.encode()]
    body = b"\r\n".join([*lines, b"------BOUNDARY--\r\n"])
    head = made_local(HTTP, server, data).replace("\n", "\r\n").encode() + b"Content-Length: %d\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(head + b"Connection: close\r\n\r\n" + body)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    assert_as_asked(answer.partition(b"\r\n\r\n")[2])
