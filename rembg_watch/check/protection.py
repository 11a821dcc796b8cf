"""
What a unit's sandbox hides from its service, and what it makes read-only.

This knows only the properties that ``systemctl show`` prints; file modes are checked
elsewhere.
"""

import re
import shlex
from collections.abc import Collection, Iterator, Mapping
from pathlib import PurePath

_HOMES = (PurePath("/home"), PurePath("/root"), PurePath("/run/user"))
_TEMPORARY = (PurePath("/tmp"), PurePath("/var/tmp"))  # noqa: S108  # names, not files
_SYSTEM = (PurePath("/usr"), PurePath("/boot"), PurePath("/efi"))


class Protection:
    """The service's view of the file system, as far as the unit's properties describe it."""

    def __init__(self, service: Mapping[str, str]) -> None:
        self._service = service
        self._bound = dict.fromkeys(_bound(service.get("BindPaths", "")), True)
        self._bound |= dict.fromkeys(_bound(service.get("BindReadOnlyPaths", "")), False)
        state = [PurePath("/var/lib") / name.partition(":")[0] for name in words(service.get("StateDirectory", ""))]
        self._ruled = dict.fromkeys((*state, *self._paths("ReadWritePaths")), True)
        self._ruled |= dict.fromkeys(self._paths("ReadOnlyPaths"), False)
        self._hidden = set(self._paths("InaccessiblePaths")) | set(self._protected())

    def _paths(self, name: str) -> list[PurePath]:
        return [PurePath(entry.lstrip("-+")) for entry in words(self._service.get(name, ""))]

    def _protected(self) -> Iterator[PurePath]:
        if self._service.get("ProtectHome") in {"yes", "tmpfs"}:
            yield from _HOMES
        if self._service.get("PrivateTmp") in {"yes", "connected", "disconnected"}:
            yield from _TEMPORARY

    def is_visible(self, path: PurePath) -> bool:
        """Say whether the service sees at *path* what every other process sees there."""
        return self._rank(path, self._bound) >= self._rank(path, self._hidden)

    def is_writable(self, path: PurePath) -> bool:
        """Say whether the sandbox lets the service write at *path*, whatever the file's mode."""
        if not self.is_visible(path):
            return False
        rules = {**self._read_only(), **self._ruled, **self._bound}
        nearest = max(
            (rule for rule in rules if path.is_relative_to(rule)), key=lambda rule: len(rule.parts), default=None
        )
        return nearest is None or rules[nearest]

    def _read_only(self) -> dict[PurePath, bool]:
        system = self._service.get("ProtectSystem", "no")
        found = dict.fromkeys(_SYSTEM, False) if system in {"yes", "full", "strict"} else {}
        if system in {"full", "strict"}:
            found[PurePath("/etc")] = False
        if system == "strict":
            found |= {PurePath("/"): False, PurePath("/dev"): True, PurePath("/proc"): True, PurePath("/sys"): True}
            found |= dict.fromkeys(_TEMPORARY, True) if self._hidden & set(_TEMPORARY) else {}
        if self._service.get("ProtectHome") == "read-only":
            found |= dict.fromkeys(_HOMES, False)
        return found

    @staticmethod
    def _rank(path: PurePath, rules: Collection[PurePath]) -> int:
        return max((len(rule.parts) for rule in rules if path.is_relative_to(rule)), default=0)


def words(text: str) -> list[str]:
    """Split a list as ``systemctl show`` prints it: words, quoted where necessary."""
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


_BOUND = re.compile(r"-?(/.*?):(/.*?)(?::r?bind)?(?= -?/|$)")


def _bound(text: str) -> list[PurePath]:
    """Find where the sandbox has bind mounts; systemd quotes neither spaces nor colons in these paths."""
    return [PurePath(inside) for _, inside in _BOUND.findall(text)]
