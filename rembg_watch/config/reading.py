"""
Find and read the configuration: the file, then the environment, then the key.

Later wins: a variable ``REMBG_WATCH_POOL__WORKERS`` is stronger than the file, and for
the API key the systemd credential is stronger than ``REMBG_WATCH_API__KEY``, which is
stronger than ``api.key_file``. Only the key that wins is looked at. Everything that is
wrong is found in one reading.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeGuard, TypeVar

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource, SettingsError

from rembg_watch.config.findings import Finding, FindingKind, Severity
from rembg_watch.config.keys import KEY_FILE, KEY_PLACES, NO_KEY, find_key, is_key_name
from rembg_watch.config.origins import Loc, Origins, dotted
from rembg_watch.config.rules import Where, all_places, problems
from rembg_watch.config.sentences import sentence, suggestion, variable, variable_suggestion
from rembg_watch.config.settings import PREFIX, FolderSettings, Settings, own_state_dir
from rembg_watch.config.trees import Tree, anchor, drop, leaves, listed, merged, strings_of
from rembg_watch.errors import ConfigError
from rembg_watch.host.silence import silent

Model = TypeVar("Model", bound=BaseModel)

OTHER_VARIABLES = frozenset({"REMBG_WATCH_CONFIG"})
"""Variables with our prefix that are no settings."""

FOR_RUN = frozenset({FindingKind.AWAY, FindingKind.ACCESS})
"""A share that is offline or read-only at the start is standby, not an error: other folders have their service."""
FOR_ACCOUNT = FOR_RUN | {FindingKind.PLACE, FindingKind.STATE, FindingKind.NO_FOLDERS}
"""``credits`` and ``remove`` need the key, but no folder."""
FOR_LOOKING = FOR_ACCOUNT | {FindingKind.KEY}
"""``status``, ``jobs`` and ``retry`` need the ledger alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one reading of the configuration came to; *settings* hold what could be understood."""

    path: Path | None
    settings: Settings | None
    findings: tuple[Finding, ...]
    key_source: str | None = None
    chooses_state_dir: bool = False
    silent: frozenset[Path] = frozenset()  # folders that do not answer: whoever looks at one may wait for ever
    where: Where = field(default=dotted, repr=False, compare=False)
    """Names the place of a setting: variable, or file, line and key."""

    def errors(self, *, tolerate: frozenset[FindingKind] = frozenset()) -> list[Finding]:
        """List what cannot be lived with."""
        return [found for found in self.findings if found.severity is Severity.ERROR and found.kind not in tolerate]


def find(explicit: Path | None = None, *, environ: Mapping[str, str] | None = None) -> Path:
    """
    Find the configuration file: the one that was named, else the first that exists.

    Raises:
        ConfigError: There is none; the sentence names the places that were looked at.
    """
    if explicit is not None:
        if _is_there(explicit) is False:
            raise ConfigError([f"{explicit}: there is no such file; `rembg-watch init` writes one"])
        return explicit
    candidates = usual_places(os.environ if environ is None else environ)
    if found := next((one for one in candidates if _is_there(one)), None):
        return found
    if closed := next((one for one in candidates if one.is_absolute() and _is_there(one) is None), None):
        return closed  # whoever reads it says why it cannot be read
    looked = ", ".join(str(candidate) for candidate in candidates)
    raise ConfigError([f"there is no configuration (looked for {looked}); `rembg-watch init` writes one"])


def _is_there(path: Path) -> bool | None:
    """Say whether there is such a file; None if this user may not look."""
    try:
        path.stat()
    except PermissionError:
        return None
    except (OSError, ValueError):
        return False
    return True


OWN_NAME = "rembg-watch.toml"
"""What a configuration is called in the folder where one works."""


def usual_places(environ: Mapping[str, str]) -> list[Path]:
    """List where a configuration is looked for that nobody named, the strongest first."""
    config_home = environ.get("XDG_CONFIG_HOME", "")
    if not config_home.startswith("/"):
        home = environ.get("HOME", "")
        config_home = f"{home}/.config" if home.startswith("/") else ""
    user = [Path(config_home) / "rembg-watch" / "config.toml"] if config_home else []
    return [Path(OWN_NAME), *user, Path("/etc/rembg-watch/config.toml")]


def load(
    path: Path | None, *, environ: Mapping[str, str] | None = None, tolerate: frozenset[FindingKind] = frozenset()
) -> Settings:
    """
    Read the settings, or refuse them with every problem at once.

    Args:
        path: The file; None: environment alone.
        environ: The environment; default: this process's.
        tolerate: Kinds of problems that the caller can live with; see ``FOR_RUN`` and the like.

    Raises:
        ConfigError: Something is wrong that the caller cannot live with.
    """
    reading = read(path, environ=environ)
    errors = reading.errors(tolerate=tolerate)
    if errors or reading.settings is None:
        raise ConfigError([str(found) for found in errors])
    return reading.settings


def read(
    path: Path | None,
    *,
    environ: Mapping[str, str] | None = None,
    default_state_dir: Path | None = None,
    on_disk: bool = True,
) -> Reading:
    """
    Read everything and list everything that is wrong; never raises for what was written.

    What is wrong is left out and the rest is checked on, so that an unknown key does
    not hide a missing folder.

    Args:
        path: The file; None: environment alone.
        environ: The environment; default: this process's.
        default_state_dir: What to take where no state_dir is chosen; default: the configuration's own.
        on_disk: Look at the folders, too, which a share that hangs may make a long look.
    """
    environ = os.environ if environ is None else environ
    draft = _Draft(path=path, state_dir=default_state_dir)
    tree = merged(draft.file(), draft.environment(environ))
    if path is not None and draft.is_unreadable:
        return Reading(path=path, settings=None, findings=tuple(draft.findings))
    has_state_dir = "state_dir" in tree
    settings = draft.settings(tree, environ)
    if settings is None:
        return Reading(path=path, settings=None, findings=tuple(draft.findings))
    settings, source = draft.with_key(settings, environ)
    silences = silent(all_places(settings)) if on_disk else frozenset()
    found = problems(settings, where=draft.where, on_disk=on_disk, silent=silences)
    draft.findings += [one for one in found if not (one.kind is FindingKind.NO_FOLDERS and draft.has_folders)]
    return Reading(
        path=path,
        settings=settings,
        findings=tuple(draft.findings),
        key_source=source,
        chooses_state_dir=has_state_dir,
        silent=silences,
        where=draft.where,
    )


@dataclass
class _Draft:
    """The findings of one reading while it goes on, and where its values came from."""

    path: Path | None
    state_dir: Path | None = None
    text: str = ""
    is_unreadable: bool = False
    findings: list[Finding] = field(default_factory=list)
    variables: dict[Loc, str] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    has_folders: bool = False  # some were given, even if none could be understood
    reported: set[Loc] = field(default_factory=set)
    kept: list[int] = field(default_factory=list)  # the number in the file of each folder that could be understood

    def where(self, loc: Loc) -> str:
        """Tell the place of *loc*, where a folder's number counts those that were understood."""
        if len(loc) > 1 and isinstance(loc[1], int) and loc[1] < len(self.kept):
            loc = (loc[0], self.kept[loc[1]], *loc[2:])
        return self._place(loc)

    def _place(self, loc: Loc) -> str:
        return Origins(self.path, self.text, variables=self.variables, names=self.names).where(loc)

    def _wrong(
        self, what: str, *, loc: Loc = (), todo: str = "", kind: FindingKind = FindingKind.SETTING, where: str = ""
    ) -> None:
        place = where or self._place(loc)
        self.findings.append(Finding(Severity.ERROR, kind, what, where=place, todo=todo))

    def file(self) -> Tree:
        """Read the file, if there is one, and make its paths relative to its own folder."""
        if self.path is None:
            return {}
        try:
            self.text = self.path.read_bytes().decode("utf-8-sig")
            tree = tomllib.loads(self.text)
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            self.is_unreadable = True
            what, todo = _unreadable(error)
            self._wrong(what, todo=todo, kind=FindingKind.FILE, where=str(self.path))
            return {}
        self._refuse_key(tree)
        anchor(tree, self.path.absolute().parent)
        return tree

    def _refuse_key(self, tree: Tree) -> None:
        """Take a key out that stands in the file, under whatever name, and never repeat it."""
        what = "the API key must not stand in this file, which is copied and shown too easily"
        api = tree.get("api")
        tables: dict[Loc, Tree] = {(): tree, ("api",): api if isinstance(api, dict) else {}}
        for above, table in tables.items():
            for name in [one for one in table if is_key_name(one)]:
                del table[name]
                self._wrong(what, loc=(*above, name), todo=KEY_PLACES, kind=FindingKind.KEY)

    def environment(self, environ: Mapping[str, str]) -> Tree:
        """Read every variable with our prefix, one by one, so that each can be named."""
        tree: Tree = {}
        for name in sorted(environ):
            if name.upper().startswith(PREFIX) and name.upper() not in OTHER_VARIABLES:
                tree = merged(tree, self._variable(name, environ[name]))
        return tree

    def _variable(self, name: str, value: str) -> Tree:
        source = EnvSettingsSource(Settings)
        source.env_vars = {name.lower(): value}
        try:
            tree = source()
        except SettingsError:
            self._wrong("must be JSON here", where=name, todo='write a list as ["one", "two"], a table as {"key": 1}')
            return {}
        if not tree:
            self._wrong("is not a setting", where=name, todo=variable_suggestion(name))
            return {}
        if isinstance(tree.get("folders"), dict) and not all(part.isdecimal() for part in tree["folders"]):
            self._wrong("does not say which folder", where=name, todo=f"the first one is {variable(('folders',))}__0")
            return {}
        self.variables |= dict.fromkeys(leaves(tree), name)
        return tree

    def settings(self, tree: Tree, environ: Mapping[str, str]) -> Settings | None:
        """Make settings of *tree*, leaving out what is wrong."""
        for name in [name for name in tree if name.startswith("_")]:
            del tree[name]  # pydantic-settings would take these for arguments of its own
            self._wrong("is not a known setting", loc=(name,), todo=suggestion((name,)))
        folders = self._folders(tree)
        settings = self._salvaged(Settings, tree, (), fallback={"state_dir": self._default_state_dir(tree, environ)})
        return settings and settings.model_copy(update={"folders": folders})

    def _default_state_dir(self, tree: Tree, environ: Mapping[str, str]) -> Path:
        if self.state_dir is not None:
            return self.state_dir
        try:
            return own_state_dir(environ, self.path)
        except RuntimeError:
            if "state_dir" not in tree:
                self._wrong("there is no home folder to keep the ledger in", loc=("state_dir",), todo="set state_dir")
            return Path("/var/lib/rembg-watch")

    def _folders(self, tree: Tree) -> tuple[FolderSettings, ...]:
        given = listed(tree.pop("folders", ()))
        if _is_table(given):
            self._wrong("must be a list of tables", loc=("folders",), todo="write [[folders]], in two brackets")
            given = (given,)
        if not isinstance(given, list | tuple):
            todo = "write [[folders]] above each folder's settings"
            self._wrong("must be a list of tables", loc=("folders",), todo=todo)
            return ()
        self.names = {
            number: item["name"] for number, item in enumerate(given) if _is_table(item) and strings_of(item, "name")
        }
        self.has_folders = len(given) > 0
        folders = []
        for number, item in enumerate(given):
            if folder := self._salvaged(FolderSettings, item, ("folders", number)):
                folders.append(folder)
                self.kept.append(number)
        return tuple(folders)

    def _salvaged(self, model: type[Model], tree: object, above: Loc, *, fallback: Tree | None = None) -> Model | None:
        """Check *tree*; take out what is wrong, telling it, until the rest is right or too little is left."""
        while True:
            whole = {**(fallback or {}), **tree} if isinstance(tree, dict) else tree
            try:
                return model.model_validate(whole)
            except ValidationError as error:
                details = error.errors(include_url=False)
            for detail in details:
                self._report(detail, (*above, *detail["loc"]))
            went = [drop(tree, detail["loc"]) for detail in details]
            if not any(went) or any(detail["type"] == "missing" for detail in details):
                return None

    def _report(self, error: ErrorDetails, loc: Loc) -> None:
        if error["type"] == "missing" and loc in self.reported:
            return  # it was there, and was taken out because it was wrong
        self.reported.add(loc)
        if error["type"] == "extra_forbidden":
            self._wrong("is not a known setting", loc=loc, todo=suggestion(loc))
        else:
            self._wrong(sentence(error, loc), loc=loc)

    def with_key(self, settings: Settings, environ: Mapping[str, str]) -> tuple[Settings, str | None]:
        """Take the key from the strongest of its places; say which."""
        source, key, complaint = find_key(settings.api, environ, variable=self.variables.get(("api", "key")))
        if complaint:
            todo = "put the key there and nothing else, where this user may read it"
            # the path of a key file is not repeated, it may be the key itself
            where = self._place(("api", "key_file")) if source.startswith(KEY_FILE) else source
            self._wrong(f"the API key {complaint}", where=where, kind=FindingKind.KEY, todo=todo)
        elif key is None and not any(found.kind is FindingKind.KEY for found in self.findings):
            self._wrong(NO_KEY, loc=("api", "key_file"), kind=FindingKind.KEY, todo=KEY_PLACES)
        api = settings.api.model_copy(update={"key": SecretStr(key) if key else None})
        return settings.model_copy(update={"api": api}), source if key else None


def _is_table(value: object) -> TypeGuard[Tree]:
    return isinstance(value, dict)


def _unreadable(error: OSError | UnicodeDecodeError | tomllib.TOMLDecodeError) -> tuple[str, str]:
    if isinstance(error, tomllib.TOMLDecodeError):
        return f"is not TOML: {error}", "correct that line"
    if isinstance(error, UnicodeDecodeError):
        return f"is not UTF-8 text (byte {error.start})", "save it as UTF-8"
    if isinstance(error, IsADirectoryError):
        return "is a folder, and no configuration file", f"name the file in it, as in {OWN_NAME}"
    return f"cannot be read: {(error.strerror or type(error).__name__).lower()}", "let the user that runs this read it"
