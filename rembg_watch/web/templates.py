"""The pages as they are written, and what is served beside them: all of it is part of the program."""

from hashlib import sha256
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined

STATIC = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""What is served beside the pages, and of which kind it is."""


def static(name: str) -> bytes:
    """Return what is served beside the pages under a name of ``STATIC``."""
    return (resources.files("rembg_watch.web") / "static" / name).read_bytes()


ASSETS = sha256(b"".join(static(name) for name in STATIC)).hexdigest()[:12]
"""Changes with what is served beside the pages, so that browsers may keep it for ever."""

PAGES = Environment(
    loader=PackageLoader("rembg_watch.web", "pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
for _name in PAGES.list_templates():
    PAGES.get_template(_name)  # now: whoever asks first need not wait for it
