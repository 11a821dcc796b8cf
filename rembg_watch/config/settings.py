"""
Every setting: its name, type, default, limits and the words that explain it.

The descriptions are what ``config.example.toml`` and ``init`` print, so that there is
one place to change them. Nothing is read from disk here; see ``reading``.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from rembg_watch.api.params import Format, RemovalParams
from rembg_watch.config.delivering import (
    DeliverableSettings,
    MasterSettings,
    Profile,
    ReviewLimits,
    TokenSettings,
    _pattern_of_names,
)
from rembg_watch.config.readers import Credits, FilePath, Pattern, Real, Section, Url, Whole, _folder_name
from rembg_watch.config.telling import LogSettings, MetricsSettings, NotifySettings, WebSettings
from rembg_watch.paths import DEEPEST_SHOOT, After, Folder
from rembg_watch.pictures.deliverable import Edges, Master
from rembg_watch.pictures.metadata import Keep
from rembg_watch.pictures.naming import Naming, Words

PREFIX = "REMBG_WATCH_"
DELIMITER = "__"
SYSTEM_CONFIG = Path("/etc/rembg-watch")
_USUAL_NAMES = frozenset({"rembg-watch", "config"})


class ApiSettings(Section):
    """Where the API is and who asks. The key: see `key_file`; it never stands in this file."""

    url: Url = Field(
        default="https://api.rembg.com/rmbg", description="Where pictures are sent. http:// only to this machine."
    )
    usage_url: Url = Field(
        default="https://www.rembg.com/api/membership-usage", description="Where the account's credits are read; free."
    )
    key: SecretStr | None = Field(
        default=None, description="The API key itself; from the environment or the credential only."
    )
    key_file: FilePath | None = Field(
        default=None,
        description=(
            "A file that holds the API key and nothing else, readable by the service alone (chmod 600).\n"
            "The environment variable REMBG_WATCH_API__KEY wins over it, and the systemd credential\n"
            "`api_key` (LoadCredential=api_key:/etc/rembg-watch/api_key) wins over both."
        ),
        examples=["/etc/rembg-watch/api_key"],
    )
    timeout_s: Real = Field(
        default=120.0, gt=0, le=3600, description="How long one answer may take. It may be charged after that."
    )


class PoolSettings(Section):
    """How much is done at once."""

    workers: Whole = Field(default=8, ge=1, le=256, description="Calls in flight at once.")
    batch_size: Whole = Field(
        default=50, ge=1, le=10_000, description="Pictures taken together after one look at the credits."
    )


class CreditSettings(Section):
    """What may be spent."""

    per_image: Credits = Field(default=Decimal(1), description="What one picture costs; 0 switches the counting off.")
    reserve: Credits = Field(default=Decimal(0), description="Leave this many credits on the account.")
    daily_budget: Credits = Field(
        default=Decimal(0), description="Spend at most this many in one UTC day; 0: no limit."
    )
    recheck_s: Real = Field(
        default=300.0, ge=1, le=86_400, description="How often the account is read while credits are missing."
    )
    ask_above: Whole = Field(
        default=200,
        ge=0,
        le=1_000_000_000,
        description=(
            "A folder that is seen for the first time with more pictures to be paid for waits for you\n"
            "(`rembg-watch retry --folder NAME` lets it go); 0: never."
        ),
    )


class WatchSettings(Section):
    """When a picture counts as dropped and complete."""

    mode: Literal["auto", "events", "poll"] = Field(
        default="auto",
        description=(
            "auto: events, and polling on network file systems | events | poll. Whatever it is, a scan of\n"
            "its own finds what events missed."
        ),
    )
    settle_s: Real = Field(
        default=3.0, gt=0, le=86_400, description="A file is read after it has not changed for so long."
    )
    scan_interval_s: Real = Field(
        default=30.0, ge=0.05, le=86_400, description="How often every folder is looked through."
    )
    grace_s: Real = Field(
        default=300.0,
        ge=0,
        le=604_800,
        description=(
            "A file that has settled but does not look like a whole picture (cut short, not a picture at all)\n"
            "is decoded after so long: if that works it is sent, if not it is listed as failed, at no cost.\n"
            "It is looked at again when it changes."
        ),
    )


class RetrySettings(Section):
    """What happens after an error that may pass."""

    max_attempts: Whole = Field(
        default=5,
        ge=1,
        le=100,
        description="Calls for one picture before it counts as failed. Waiting for a limit uses up none.",
    )
    in_doubt: Literal["retry", "hold"] = Field(
        default="retry",
        description=(
            "A picture that was sent and got no answer may have been charged. retry: send it once more, and\n"
            "count it | hold: leave it to a person (`rembg-watch retry --state in_doubt`)."
        ),
    )


class OutputSettings(Section):
    """How cut-outs are written."""

    free_space_reserve_mb: Whole = Field(
        default=256,
        ge=0,
        le=1_000_000_000,
        description="Pause before a disk that is written to has less than this free.",
    )


class LedgerSettings(Section):
    """What is remembered."""

    keep_days: Whole = Field(
        default=365,
        ge=1,
        le=36_500,
        description=(
            "How long finished jobs are remembered after their source is gone. While a source stands, it is\n"
            "remembered, or it would be sent again."
        ),
    )


class FolderOptions(Section):
    """The API's own parameters for every picture of this folder."""

    format: str = Field(default="webp", description="webp | png | jpeg | bmp; jpeg and bmp have no transparency.")
    w: Whole | None = Field(
        default=None, description="Target width, 1 to 10000; the aspect ratio is kept.", examples=[2000]
    )
    h: Whole | None = Field(default=None, description="Target height, 1 to 10000.", examples=[2000])
    exact_resize: bool = Field(default=False, description="Force exactly w x h, which may distort.")
    mask: bool = Field(default=False, description="Return the mask alone; not together with bg_color.")
    bg_color: str | None = Field(
        default=None, description="A solid background: #RGB, #RGBA, #RRGGBB or #RRGGBBAA.", examples=["#ffffff"]
    )
    angle: Real = Field(default=0.0, description="Rotate afterwards, -360 to 360 degrees.")
    expand: bool = Field(default=True, description="Grow the picture, so that rotating crops nothing.")

    def params(self) -> RemovalParams:
        """
        Return what is asked of the API for each picture.

        Raises:
            InvalidRequestError: The API would refuse them; ``config.load`` has told so before.
        """
        return RemovalParams(**self.model_dump())

    def extension(self) -> str:
        """Return the ending of its cut-outs, also where the rest of the options is wrong."""
        known = self.format in tuple(Format)
        return (Format(self.format) if known else RemovalParams().format).extension


class FolderSettings(Section):
    """One watched folder: pictures dropped into `input` come out, cut out, at the same place under `output`."""

    name: Annotated[str, Field(max_length=64), AfterValidator(_folder_name)] = Field(
        description="What the folder is called in log, status and ledger. Keep it: jobs are remembered under it."
    )
    input: FilePath = Field(description="Where pictures are dropped, sub-folders included.")
    output: FilePath = Field(
        description="Where cut-outs appear, mirrored. Not inside `input`, nor the other way round."
    )
    include: tuple[Pattern, ...] = Field(
        default=(),
        description="Only what matches one of these; none: every picture type that can be sent.",
        examples=[["**/*.jpg"]],
    )
    exclude: tuple[Pattern, ...] = Field(
        default=(), description="But not what matches one of these.", examples=[["**/_rejects/**"]]
    )
    sync_conflicts: bool = Field(
        default=False,
        description="Whether the second copies that sync programs make after a conflict are sent too:\n"
        "`x.sync-conflict-...jpg`, `x (conflicted copy ...).jpg` and the like.",
    )
    after: After = Field(
        default="keep", description="What becomes of the original once its cut-out stands: keep | move | delete"
    )
    done: FilePath | None = Field(
        default=None, description="Where `move` puts the originals, mirrored.", examples=["/srv/studio/done"]
    )
    move_sidecars: bool = Field(
        default=False, description="Whether `move` takes the side files of an original along: `x.xmp`, `x.jpg.xmp`."
    )
    remove_empty_folders: bool = Field(
        default=False,
        description="Whether `move` removes sub-folders of `input` that it has emptied: at once, so not for programs\n"
        "that go on exporting into them.",
    )
    failed: FilePath | None = Field(
        default=None,
        description="Where refused pictures go, with a file beside each that says why; none: they stay.",
        examples=["/srv/studio/failed"],
    )
    upright: bool = Field(default=True, description="Send pictures that a camera marked as rotated (EXIF) upright.")
    metadata: Keep = Field(
        default=Keep.ALL,
        description="What a cut-out gets of what its picture says (EXIF, XMP, IPTC, resolution): all | all+place |\n"
        "copyright | none. `all` leaves out where it was taken. The colour profile is kept in any case.",
    )
    deliver: tuple[str, ...] = Field(
        default=(),
        description="What is made of each picture in place of the plain cut-out: names of [deliverables.NAME]. Then\n"
        "TIFF, PSD, HEIC and AVIF are taken too, 16 bits are kept, and [folders.options] does not count.",
        examples=[["print", "shopify"]],
    )
    master: Master = Field(
        default=Master.CUTOUT,
        description="What is bought for that and kept: cutout, which outlives the original | mask, far smaller.",
    )
    send_px: Whole = Field(
        default=4000,
        ge=256,
        le=10_000,
        description="A larger picture is sent smaller; deliverables keep its full size.",
    )
    assume: Profile = Field(
        default="srgb",
        description="The profile of pictures that have none: srgb | adobe-rgb | the path of a profile |\n"
        "review: srgb, and you are told to look.",
    )
    edges: Edges = Field(
        default=Edges.CLEAN, description="clean: without what the background has mixed into soft edges | as-is."
    )
    publish: Literal["each", "together"] = Field(
        default="each", description="each: as soon as it is made | together: when all are made."
    )
    sidecar: bool = Field(
        default=False, description="Whether a JSON file beside them says what was made of what; it is written last."
    )
    read_name: Annotated[str, AfterValidator(_pattern_of_names)] | None = Field(
        default=None,
        description="A regular expression whose named groups, found in a file's name, are tokens for `path`.",
        examples=[r"(?P<sku>[A-Z0-9]+)_(?P<n>\d+)"],
    )
    tokens: dict[str, TokenSettings] = Field(
        default={},
        description="Tokens made out of others.",
        examples=[{"view": {"from": "n", "words": {"1": "MAIN", "2": "PT01"}}}],
    )
    review: Literal["mark", "hold", "off"] = Field(
        default="mark",
        description="An odd cut-out, by [folders.review_limits], is: mark: delivered and named | hold: kept until you\n"
        "accept, redo or reject it | off: not looked for.",
    )
    review_dir: FilePath | None = Field(
        default=None,
        description='Where cut-outs that are held are shown, with the reason beside each (review = "hold").',
        examples=["/srv/studio/review"],
    )
    review_limits: ReviewLimits = ReviewLimits()
    priority: Whole = Field(default=0, ge=-1000, le=1000, description="Folders with a higher number go first.")
    daily_budget: Credits = Field(
        default=Decimal(0), description="Credits for this folder in one UTC day; 0: no limit of its own."
    )
    shoot_depth: Whole = Field(
        default=1,
        ge=0,
        le=DEEPEST_SHOOT,
        description="Which level of sub-folder is a shoot, as `report` bills it: 1: `input/SHOOT/...`; 0: all is one.",
    )
    options: FolderOptions = FolderOptions()

    def naming(self) -> Naming:
        """Return how tokens are found in its pictures."""
        words = {name: Words(one.source, one.words) for name, one in self.tokens.items()}
        return Naming(folder=self.name, read_name=self.read_name, words=words)

    def params(self) -> RemovalParams:
        """
        Return what is asked of the API for each picture: a master, where it delivers.

        Raises:
            InvalidRequestError: The API would refuse them; ``config.load`` has told so before.
        """
        if self.deliver:
            return RemovalParams(format=Format.PNG, mask=self.master is Master.MASK)
        return self.options.params()

    def folder(self) -> Folder:
        """Return what the stages know of this folder."""
        return Folder(
            name=self.name,
            input=self.input,
            output=self.output,
            include=self.include,
            exclude=self.exclude,
            sync_conflicts=self.sync_conflicts,
            reads_more=bool(self.deliver),
            extension=self.options.extension(),
            after=self.after,
            done=self.done if self.after == "move" else None,
            failed=self.failed,
            review_dir=self.review_dir,
        )


class Settings(BaseSettings):
    """
    The whole configuration, checked.

    Made from values alone: neither the environment nor any file is read by the
    constructor. ``config.load`` is what reads them.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=DELIMITER,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )

    state_dir: FilePath = Field(
        description=(
            "Ledger and spool: what was paid for is remembered here. On a local disk, one for each daemon.\n"
            "Left out: what systemd gives; for a configuration in /etc/rembg-watch /var/lib/rembg-watch; else\n"
            "a folder of its own for each configuration, in rembg-watch in the user's state folder."
        ),
        examples=["/var/lib/rembg-watch"],
    )
    api: ApiSettings = ApiSettings()
    pool: PoolSettings = PoolSettings()
    credits: CreditSettings = CreditSettings()
    watch: WatchSettings = WatchSettings()
    retry: RetrySettings = RetrySettings()
    output: OutputSettings = OutputSettings()
    ledger: LedgerSettings = LedgerSettings()
    masters: MasterSettings = MasterSettings()
    deliverables: dict[str, DeliverableSettings] = {}
    log: LogSettings = LogSettings()
    metrics: MetricsSettings = MetricsSettings()
    web: WebSettings = WebSettings()
    notify: NotifySettings = NotifySettings()
    folders: tuple[FolderSettings, ...] = ()

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: object, **__: object
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values as given; who said what is settled before, where it can be told."""
        del settings_cls
        return (init_settings,)


ANY_NAME = "NAME"
"""Stands for the name of a deliverable where settings are listed."""

REPEATED: Mapping[str, type[BaseModel]] = {"folders": FolderSettings, "deliverables": DeliverableSettings}
"""The tables that there can be several of."""


def default_state_dir(environ: Mapping[str, str], path: Path | None = None) -> Path:
    """
    Say where ledger and spool are kept when the configuration does not; of a user, where those of all are.

    What systemd gives comes first. A configuration in /etc/rembg-watch belongs to the
    service, so whoever asks for its status must find the service's own ledger.

    Raises:
        RuntimeError: There is neither a state folder nor a home in *environ*, nor for this user.
    """
    given = environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given.startswith("/"):
        return Path(given)
    if path is not None and path.absolute().parent == SYSTEM_CONFIG:
        return Path("/var/lib") / ("rembg-watch" if path.stem == "config" else f"rembg-watch-{path.stem}")
    state_home = environ.get("XDG_STATE_HOME", "")
    if state_home.startswith("/"):
        return Path(state_home) / "rembg-watch"
    home = environ.get("HOME", "")
    return (Path(home) if home.startswith("/") else Path.home()) / ".local" / "state" / "rembg-watch"


def own_state_dir(environ: Mapping[str, str], path: Path | None) -> Path:
    """
    Say where ledger and spool of one configuration are kept: in a folder of its own of the user's default.

    Raises:
        RuntimeError: As ``default_state_dir``.
    """
    shared = default_state_dir(environ, path)
    is_given = environ.get("STATE_DIRECTORY", "").startswith("/")
    if path is None or is_given or path.absolute().parent == SYSTEM_CONFIG:
        return shared
    real = Path(os.path.realpath(path))
    name = real.parent.name if real.stem in _USUAL_NAMES else real.stem
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:40] or "rembg-watch"
    return shared / f"{plain}-{hashlib.sha256(os.fsencode(real)).hexdigest()[:8]}"


def redacted(settings: Settings) -> dict[str, Any]:
    """Return the settings as plain values for printing, without the key."""
    values = settings.model_dump(mode="json")
    values["api"]["key"] = None if settings.api.key is None else "(set)"
    return values
