"""
What people write where a path of this machine belongs, and what to write instead.

A share's address, a Windows path or a variable would otherwise be taken for the name of a
folder, which is made here: cut-outs that were paid for would lie in ``smb:/nas/share``. No
value is repeated: in ``key_file`` it may be the key itself.
"""

import re

_SHARE = "mount the share and write its mount point here"
_IN_FULL = "variables are not expanded here: write the path in full; ~ for your home folder is understood"
_WINDOWS = "write a path of this machine, with / between the names (under WSL, C:\\ is /mnt/c/)"

_SAYINGS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?i)file:/"), "is a URL: write the path alone, without file://"),
    (re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://"), f"is an address, not a path of this machine: {_SHARE}"),
    (re.compile(r"[\\/]{2}[^\\/]"), f"begins as the name of a share on another machine: {_SHARE}"),
    (re.compile(r"[A-Za-z]:(?:[\\/]|$)"), f"is a path of Windows: {_WINDOWS}"),
    (re.compile(r"[^/\\\s:]+:[/\\]"), f"names a folder of another machine: {_SHARE}"),
    (re.compile(r".*(?:\$\{|\$\(|\$[A-Z_][A-Z0-9_]+)|(?:.*/)?\$[A-Za-z_]"), f"has a variable in it: {_IN_FULL}"),
    (re.compile(r".*%[A-Za-z_][A-Za-z0-9_()]*%"), f"has a variable in it: {_IN_FULL}"),
    (re.compile(r"(?:.*/)?%[A-Za-z](?:/|$)"), f"has a specifier of systemd in it: {_IN_FULL}"),
    (re.compile(r"[^/]*\\[^/]*$"), f"is written as Windows does: {_WINDOWS}"),
)


def why_foreign(value: str) -> str | None:
    """Say why *value* can be no path of this machine, and what to do; None if it can be one."""
    return next((saying for pattern, saying in _SAYINGS if pattern.match(value.strip())), None)
