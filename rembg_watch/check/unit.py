"""
What systemd says of the installed service: its key, its user, and whether its sandbox lets it at the folders.

systemd is asked for the unit's properties; where it does not run or does not know the
unit, there is nothing to tell.
"""

import contextlib
import os
import pwd
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePath

from pydantic import SecretStr

from rembg_watch.config import Finding, Kind, Reading, Settings, Severity
from rembg_watch.config.reading import CREDENTIAL, clean_key
from rembg_watch.config.rules import targets

UNIT = "rembg-watch.service"
PROPERTIES = (
    "LoadState",
    "ExecStart",
    "User",
    "DynamicUser",
    "ProtectSystem",
    "ProtectHome",
    "PrivateTmp",
    "StateDirectory",
    "ReadWritePaths",
    "ReadOnlyPaths",
    "InaccessiblePaths",
    "BindPaths",
    "BindReadOnlyPaths",
    "LoadCredential",
    "LoadCredentialEncrypted",
    "SetCredential",
    "SetCredentialEncrypted",
)
OLDEST_SYSTEMD = 247  # LoadCredential=

_ANSWER_S = 5.0
_HOMES = (PurePath("/home"), PurePath("/root"), PurePath("/run/user"))
_TEMPORARY = (PurePath("/tmp"), PurePath("/var/tmp"))  # noqa: S108  # names, not files
_SYSTEM = (PurePath("/usr"), PurePath("/boot"), PurePath("/efi"))


def properties(unit: str = UNIT) -> dict[str, str]:
    """Ask systemd for what it knows of *unit*; empty where it is not installed or nobody answers."""
    systemctl = shutil.which("systemctl")
    if systemctl is None:
        return {}
    shown = _said([systemctl, "show", unit, f"--property={','.join(PROPERTIES)}"])
    found = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    if found.get("LoadState") != "loaded":
        return {}
    version = re.match(r"systemd (\d+)", _said([systemctl, "--version"]))
    return {**found, "Version": version[1] if version else ""}


def _said(command: list[str]) -> str:
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_S, check=False)  # noqa: S603  # fixed words
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return ""
    return answer.stdout if answer.returncode == 0 else ""


def is_ours(reading: Reading, service: Mapping[str, str]) -> bool:
    """Say whether the service runs with this very configuration file."""
    return reading.path is not None and str(reading.path.absolute()) in service.get("ExecStart", "")


def credential_path(service: Mapping[str, str]) -> Path | None:
    """Find the plain file that the service's key is loaded from."""
    for entry in _words(service.get("LoadCredential", "")):
        name, _, path = entry.partition(":")
        if name == CREDENTIAL and path.startswith("/"):
            return Path(path)
    return None


def _has_credential(service: Mapping[str, str]) -> bool:
    """
    Say whether the unit gives the service a key.

    A system manager shows none of the contents of SetCredential=, so the name is all
    there is to see.
    """
    names = ("LoadCredential", "LoadCredentialEncrypted", "SetCredential", "SetCredentialEncrypted")
    entries = [entry for name in names for entry in _words(service.get(name, ""))]
    return any(entry.partition(":")[0] == CREDENTIAL for entry in entries)


def with_credential(reading: Reading, service: Mapping[str, str]) -> Reading:
    """
    Read the configuration as the service does, for whoever runs ``check`` outside it.

    A key that only the unit provides is no missing key; where its file can be read, it is used.
    """
    settings = reading.settings
    if (
        settings is None
        or settings.api.key is not None
        or not is_ours(reading, service)
        or not _has_credential(service)
    ):
        return reading
    findings = tuple(
        found for found in reading.findings if found.kind is not Kind.KEY or found.what != "there is no API key"
    )
    path, key = credential_path(service), None
    if path is not None:
        with contextlib.suppress(OSError):
            key, complaint = clean_key(path.read_bytes()[:8192])
            if complaint:
                findings += (_error(Kind.KEY, f"the API key {complaint}", f"LoadCredential={CREDENTIAL}:{path}"),)
    if key is None:
        return replace(reading, findings=findings)
    api = settings.api.model_copy(update={"key": SecretStr(key)})
    source = f"LoadCredential={CREDENTIAL}:{path}"
    return replace(reading, findings=findings, settings=settings.model_copy(update={"api": api}), key_source=source)


def findings(reading: Reading, service: Mapping[str, str], *, user_id: int) -> Iterator[Finding]:
    """Tell what keeps the installed service from doing with this configuration what ``check`` could do."""
    settings = reading.settings
    if not service or settings is None:
        return
    if not is_ours(reading, service):
        yield _note(f"{UNIT} runs with another configuration file", f"its command is {_command(service)}")
        return
    yield from _version(service)
    yield from _credential(settings, service)
    yield from _sandbox(settings, service)
    yield from _user(service, user_id)


def _error(kind: Kind, what: str, where: str, todo: str = "") -> Finding:
    return Finding(severity=Severity.ERROR, kind=kind, what=what, where=where, todo=todo)


def _note(what: str, todo: str = "") -> Finding:
    return Finding(severity=Severity.NOTE, kind=Kind.MACHINE, what=what, where=UNIT, todo=todo)


def _command(service: Mapping[str, str]) -> str:
    found = re.search(r"argv\[\]=(.*?) ;", service.get("ExecStart", ""))
    return found[1] if found else "unknown"


def _version(service: Mapping[str, str]) -> Iterator[Finding]:
    version = service.get("Version", "")
    if version.isdecimal() and int(version) < OLDEST_SYSTEMD:
        what = f"systemd {version} knows no credentials; {OLDEST_SYSTEMD} is the first that does"
        yield Finding(
            severity=Severity.WARNING,
            kind=Kind.MACHINE,
            what=what,
            where=UNIT,
            todo="name a key_file that the service may read",
        )


def _credential(settings: Settings, service: Mapping[str, str]) -> Iterator[Finding]:
    path = credential_path(service)
    if path is not None and os.access(path.parent, os.X_OK) and not path.exists():
        what = (
            f"the credential {CREDENTIAL} is to be loaded from {path}, which does not exist: the service will not start"
        )
        yield _error(Kind.KEY, what, f"{UNIT} LoadCredential=", f"write the key to {path} (chmod 600)")
    elif not _has_credential(service) and settings.api.key_file is None:
        what = "the service is given no key: neither a credential api_key nor a key_file"
        todo = f"add LoadCredential={CREDENTIAL}:/etc/rembg-watch/api_key"
        yield Finding(severity=Severity.WARNING, kind=Kind.KEY, what=what, where=UNIT, todo=todo)


def _sandbox(settings: Settings, service: Mapping[str, str]) -> Iterator[Finding]:
    """Compare each folder with what the unit hides and write-protects."""
    sandbox = Sandbox(service)
    if not sandbox.is_writable(settings.state_dir):
        what = f"the service cannot write its state folder {settings.state_dir}"
        yield _error(Kind.ACCESS, what, f"{UNIT} StateDirectory=", "leave out state_dir, or add it to ReadWritePaths=")
    for folder in settings.folders:
        if not sandbox.is_visible(folder.input):
            what = f"the service cannot see the input folder {folder.input} ({folder.name!r})"
            todo = "write the drop-in anew: `rembg-watch init --systemd`"
            yield _error(Kind.ACCESS, what, UNIT, todo)
        for name, path in targets(folder).items():
            if not sandbox.is_writable(path):
                what = f"the service cannot write the {name} folder {path} ({folder.name!r})"
                todo = f"write the drop-in anew: `rembg-watch init --systemd`, or add ReadWritePaths={path}"
                yield _error(Kind.ACCESS, what, f"{UNIT} ReadWritePaths=", todo)


class Sandbox:
    """The unit's view of the file system, as far as its properties tell."""

    def __init__(self, service: Mapping[str, str]) -> None:
        self._service = service
        self._bound = dict.fromkeys(self._paths("BindPaths"), True)
        self._bound |= dict.fromkeys(self._paths("BindReadOnlyPaths"), False)
        state = [PurePath("/var/lib") / name.partition(":")[0] for name in _words(service.get("StateDirectory", ""))]
        self._ruled = dict.fromkeys((*state, *self._paths("ReadWritePaths")), True)
        self._ruled |= dict.fromkeys(self._paths("ReadOnlyPaths"), False)
        self._hidden = set(self._paths("InaccessiblePaths")) | set(self._protected())

    def _paths(self, name: str) -> list[PurePath]:
        """Read a list of paths; of a bind mount, its place inside."""
        entries = [entry.lstrip("-+") for entry in _words(self._service.get(name, ""))]
        parts = [re.split(r"(?<!\\):", entry) for entry in entries]
        return [PurePath((part[1] if len(part) > 1 and part[1] else part[0]).replace("\\:", ":")) for part in parts]

    def _protected(self) -> Iterator[PurePath]:
        if self._service.get("ProtectHome") in {"yes", "tmpfs"}:
            yield from _HOMES
        if self._service.get("PrivateTmp") in {"yes", "connected", "disconnected"}:
            yield from _TEMPORARY

    def is_visible(self, path: PurePath) -> bool:
        """Say whether the service finds at *path* what everybody finds there."""
        return self._rank(path, self._bound) >= self._rank(path, self._hidden)

    def is_writable(self, path: PurePath) -> bool:
        """Say whether the sandbox, not the file's own mode, lets the service write at *path*."""
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
    def _rank(path: PurePath, rules: "Mapping[PurePath, bool] | set[PurePath]") -> int:
        return max((len(rule.parts) for rule in rules if path.is_relative_to(rule)), default=0)


def _words(text: str) -> list[str]:
    """Part what ``systemctl show`` prints of a list: words with quotes or escapes where they are needed."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters, lexer.escape = True, "", ""
    try:
        words = list(lexer)
    except ValueError:
        words = text.split()
    return [re.sub(r"\\x([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), word) for word in words]


def _user(service: Mapping[str, str], user_id: int) -> Iterator[Finding]:
    """What one user can do says little of another."""
    name = service.get("User", "") or ("root" if service.get("DynamicUser", "no") == "no" else "a user of its own")
    with contextlib.suppress(KeyError):
        if pwd.getpwuid(user_id).pw_name != name:
            who = pwd.getpwuid(user_id).pw_name
            what = f"folders were tried as {who}, but the service runs as {name}"
            yield _note(what, f"try as the service does: sudo -u {name} rembg-watch check --config FILE")
