"""Whose a file or folder is, for sentences that say who may use it."""

import pwd
from pathlib import Path


def owner_of(path: Path) -> str | None:
    """Name the user that *path* belongs to, or the nearest folder above it that can be looked at."""
    for step in (path, *path.parents):
        try:
            user_id = step.stat().st_uid
        except OSError:
            continue
        try:
            return pwd.getpwuid(user_id).pw_name
        except KeyError:
            return f"user {user_id}"
    return None
