"""
Where the API key comes from, and what cannot be one.

The credential of systemd is stronger than the environment, which is stronger than the
key file; only the strongest that is there is looked at. Nothing here repeats any of it.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from rembg_watch.config.settings import ApiSettings

CREDENTIAL = "api_key"
KEY_VARIABLE = "REMBG_WATCH_API__KEY"
KEY_FILE = "key_file "
NO_KEY = "there is no API key"
KEY_PLACES = (
    f"write it to a file of its own and name that in key_file, or set {KEY_VARIABLE}, "
    f"or give it to systemd as the credential {CREDENTIAL}"
)

_LONGEST_BYTES = 4096
_KEY_NAMES = frozenset({"key", "apikey", "xapikey", "rembgapikey", "token", "apitoken", "secret", "apisecret"})


def find_key(
    api: ApiSettings, environ: Mapping[str, str], *, variable: str | None = None
) -> tuple[str, str | None, str | None]:
    """
    Take the key from the strongest of its places.

    *variable* is the environment variable that gave ``api.key``.

    Returns:
        The place, the key and the complaint: of the last two at most one is there,
        and neither if no place holds a key.
    """
    directory = environ.get("CREDENTIALS_DIRECTORY", "")
    if directory and (Path(directory) / CREDENTIAL).exists():
        return (f"credential {CREDENTIAL}", *_read(Path(directory) / CREDENTIAL))
    if api.key is not None:
        return (variable or KEY_VARIABLE, *clean_key(api.key.get_secret_value().encode("utf-8", "surrogateescape")))
    if api.key_file is not None:
        return (f"{KEY_FILE}{api.key_file}", *_read(api.key_file))
    return "", None, None


def _read(path: Path) -> tuple[str | None, str | None]:
    try:
        with path.open("rb") as file:
            return clean_key(file.read(_LONGEST_BYTES + 1))
    except (FileNotFoundError, NotADirectoryError):
        return None, f"cannot be read: there is no such file below {_nearest_folder(path)}"
    except OSError as error:
        return None, f"cannot be read: {(error.strerror or type(error).__name__).lower()}"


def _nearest_folder(path: Path) -> Path:
    """Name where *path* was looked for, as far as that exists: the rest may be a key in the wrong place."""
    return next((folder for folder in path.parents if os.path.isdir(folder)), Path("/"))  # noqa: PTH112  # never raises


def is_key_name(name: object) -> bool:
    """Say whether a setting of this name was meant to be the key itself."""
    return re.sub(r"[^a-z]", "", str(name).lower()) in _KEY_NAMES


def clean_key(raw: bytes) -> tuple[str | None, str | None]:
    """
    Return the key without the space around it, or what keeps it from being one.

    The complaint never repeats any of it.
    """
    text = raw.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").strip()
    checks = {
        "is empty": not text,
        "is far too long": len(raw) > _LONGEST_BYTES,
        "consists of several words or lines": len(text.split()) > 1,
        "has characters that no key can have": not (text.isascii() and text.isprintable()),
        "is wrapped in quotes": text[:1] in {'"', "'"} and text[-1:] == text[:1],
    }
    complaint = next((saying for saying, is_so in checks.items() if is_so), None)
    return (None, complaint) if complaint else (text, None)
