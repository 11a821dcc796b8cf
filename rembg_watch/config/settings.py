"""
Every setting: its name, type, default, limits and the words that explain it.

The descriptions are what ``config.example.toml`` and ``init`` print, so that there is
one place to change them. Nothing is read from disk here; see ``reading``.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from datetime import time
from decimal import Decimal
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from rembg_watch.api.params import Format, RemovalParams
from rembg_watch.config.foreign import why_foreign
from rembg_watch.paths import DEEPEST_SHOOT, After, Folder
from rembg_watch.pictures.deliverable import Align, Canvas, Deliverable, Edges, FileFormat, Master, Upsample
from rembg_watch.pictures.figures import Limits
from rembg_watch.pictures.metadata import Keep
from rembg_watch.pictures.naming import Naming, Words, why_no_template

PREFIX = "REMBG_WATCH_"
DELIMITER = "__"
SYSTEM_CONFIG = Path("/etc/rembg-watch")
_USUAL_NAMES = frozenset({"rembg-watch", "config"})


def _number(value: object) -> object:
    """Refuse true and false, which Python counts as 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")  # noqa: TRY004  # pydantic turns ValueError alone into a finding
    return value


def _path(value: object) -> object:
    """Refuse what no path can be and make the rest absolute."""
    if not isinstance(value, str | Path):
        raise ValueError("must be a path in quotes")  # noqa: TRY004  # as above
    if not str(value).strip() or str(value) == ".":
        raise ValueError("must name a path, not nothing")
    if "\0" in str(value):
        raise ValueError("must not contain a NUL character")
    if (why := why_foreign(str(value))) is not None:
        raise ValueError(why)
    try:
        return Path(_on_disk(value)).expanduser().absolute()
    except RuntimeError as error:  # "~nobody"
        raise ValueError("begins with a home folder that is not known") from error


def _on_disk(value: str | Path) -> str:
    """Spell a path of the file as the disk does: in UTF-8, whatever the locale of this process says."""
    return os.fsdecode(str(value).encode("utf-8", "surrogateescape"))


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine, by its name alone."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _split(value: str) -> SplitResult:
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError as error:
        raise ValueError("is not a URL") from error
    return parts


def _url(value: str) -> str:
    """Refuse URLs that would carry the key in clear, or to nowhere."""
    parts = _split(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be a URL that begins with https:// and names a host")
    if "@" in parts.netloc:
        raise ValueError("must not carry a name or password: it would be written to the log")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError("would send the API key unencrypted: use https:// (http:// is for this machine alone)")
    return value


def _pattern(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    if value.startswith("/"):
        raise ValueError("must be relative to the input folder: leave out the / at its beginning")
    return value


def _folder_name(value: str) -> str:
    if not value.strip() or not value.isprintable() or value != value.strip():
        raise ValueError("must be a printable name without spaces around it")
    return value


Whole = Annotated[int, BeforeValidator(_number)]
Real = Annotated[float, BeforeValidator(_number)]
Credits = Annotated[Decimal, BeforeValidator(_number), Field(ge=0, le=1_000_000_000)]
FilePath = Annotated[Path, BeforeValidator(_path)]
Url = Annotated[str, AfterValidator(_url)]
Pattern = Annotated[str, AfterValidator(_pattern)]


class Section(BaseModel):
    """One table of the file: frozen, no unknown keys, no values in its error messages."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


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


def _textfile(value: object) -> object:
    if Path(str(value)).suffix != ".prom":
        raise ValueError('must end in ".prom": a textfile collector reads no other file')
    return value


class MetricsSettings(Section):
    """Figures for Prometheus, written every 15 s where the extra `metrics` is installed."""

    textfile: Annotated[FilePath | None, BeforeValidator(_textfile)] = Field(
        default=None,
        description=(
            "Where they are written, on a local disk. Left out: metrics.prom beside the ledger, and under systemd\n"
            "also in /run/rembg-watch, where every user may read it."
        ),
        examples=["/var/lib/prometheus/node-exporter/rembg-watch.prom"],
    )


def _or_none(value: object) -> object:
    """Take nothing between the quotes as nothing at all."""
    return None if value == "" else value


def _ping_url(value: object) -> object:
    """Refuse what cannot be asked for; the sentence never repeats it, since whoever knows it can ask in our place."""
    if isinstance(value, str) and value:
        parts = _split(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be a URL that begins with https:// and names a host")
    elif value is not None and not isinstance(value, str | SecretStr):
        raise ValueError("must be a URL in quotes")
    return value or None


_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


def _time(value: str) -> time | None:
    found = _TIME.fullmatch(value)
    return time(int(found[1]), int(found[2])) if found else None


def _digest(value: str) -> str:
    if value and _time(value) is None:
        raise ValueError('must be a time such as "18:00", or "" for no digest')
    return value


def _quiet(value: str) -> str:
    begin, _, end = value.partition("-")
    if value and (_time(begin) is None or _time(end) is None):
        raise ValueError('must be two times such as "20:00-07:00", or "" for none')
    if value and begin == end:
        raise ValueError("must not end when it begins")
    return value


class NotifySettings(Section):
    """What people are told by message, where the extra `notify` is installed: nothing, until it is known how."""

    urls_file: Annotated[FilePath | None, BeforeValidator(_or_none)] = Field(
        default=None,
        description=(
            "A file with Apprise URLs, one a line (https://appriseit.com/services/): mailtos://..., slack://...\n"
            "They are secrets (chmod 600). The systemd credential `notify_urls` wins over it. Try it by\n"
            "`rembg-watch notify --test`."
        ),
        examples=["/etc/rembg-watch/notify_urls"],
    )
    group_s: Real = Field(
        default=60.0, ge=1, le=3600, description="What begins within so long after a notice is told together."
    )
    per_hour: Whole = Field(
        default=6, ge=1, le=1000, description='At most so many notices in an hour; the last one says "and 41 more".'
    )
    quiet: Annotated[str, AfterValidator(_quiet)] = Field(
        default="",
        description=(
            "When only what needs a person at once is told, by this machine's local time, as in\n"
            '"20:00-07:00"; "": never quiet.'
        ),
    )
    digest: Annotated[str, AfterValidator(_digest)] = Field(
        default="18:00",
        description='When the day is summed up, by local time; a day without pictures is not. "": never.',
    )
    ping_url: Annotated[SecretStr | None, BeforeValidator(_ping_url)] = Field(
        default=None,
        description=(
            "A dead man's switch, such as Healthchecks or Uptime Kuma: this URL is asked for every `ping_s` while\n"
            "the daemon lives and is not stuck, and whoever watches it tells you once that stops."
        ),
        examples=["https://hc-ping.com/your-uuid"],
    )
    ping_s: Real = Field(default=300.0, ge=5, le=86_400, description="How often.")

    def quiet_hours(self) -> tuple[time, time] | None:
        """Return when the quiet hours begin and end, by the clock of the wall."""
        begin, end = (_time(part) for part in (self.quiet or "-").split("-"))
        return None if begin is None or end is None else (begin, end)

    def digest_at(self) -> time | None:
        """Return when the day is summed up, by the clock of the wall."""
        return _time(self.digest)


class LogSettings(Section):
    """What is told, and how."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="debug | info | warning | error"
    )
    format: Literal["auto", "human", "json", "journal"] = Field(
        default="auto", description="auto: journal under systemd, else human | human | json | journal"
    )


def _listen(value: str) -> str:
    if value.startswith("unix:"):
        if not value.removeprefix("unix:").startswith("/"):
            raise ValueError('must name the socket by its whole path, as "unix:/run/rembg-watch/web.sock" does')
        return value
    try:
        parts = urlsplit(f"//{value}")
        port = parts.port
    except ValueError:
        port = None
    if port is None or not parts.hostname or parts.netloc != value or "@" in value:
        raise ValueError('must be an address and a port, as "127.0.0.1:8787", or "unix:/run/rembg-watch/web.sock"')
    return value


def _network(value: str) -> str:
    try:
        ip_network(value)
    except ValueError as error:
        raise ValueError('must be an address or a network, as "192.168.1.7" or "192.168.1.0/24"') from error
    return value


def _base_path(value: str) -> str:
    if value and (not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", value) or ".." in value):
        raise ValueError('must begin with a slash and not end with one, as "/rembg"')
    return value


class WebSettings(Section):
    """The page of `rembg-watch web`, which runs beside the daemon, without the key."""

    listen: Annotated[str, AfterValidator(_listen)] = Field(
        default="127.0.0.1:8787",
        description='Address and port, or "unix:/run/rembg-watch/web.sock". Other machines reach it only with `auth`.',
    )
    hosts: tuple[str, ...] = Field(
        default=(),
        description="The names by which a browser may ask for it, besides localhost: those of a proxy before it, or\n"
        "of this machine.",
        examples=[["studio.example"]],
    )
    auth: Literal["none", "password", "header"] = Field(
        default="none", description="none: for this machine alone | password | header: a proxy says who it is."
    )
    password_file: FilePath | None = Field(
        default=None,
        description="A file that holds the password and nothing else; the credential `web_password` wins over it.",
        examples=["/etc/rembg-watch/web_password"],
    )
    user_header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")] = Field(
        default="X-Forwarded-User", description='Where `auth = "header"` finds who it is.'
    )
    trusted_proxies: tuple[Annotated[str, AfterValidator(_network)], ...] = Field(
        default=(),
        description="Whom that is believed, besides whoever may use the unix socket.",
        examples=[["127.0.0.1"]],
    )
    may: Literal["look", "act"] = Field(
        default="look",
        description="look | act: approve, reject, try again and make anew, too, which may cost credits; then it needs\n"
        "`auth`, or a unix socket.",
    )
    base_path: Annotated[str, AfterValidator(_base_path)] = Field(
        default="", description="Under which path a proxy shows it.", examples=["/rembg"]
    )
    thumbnails_mb: Whole = Field(
        default=2048,
        ge=16,
        le=1_000_000,
        description="How much of the cache folder small pictures may take. Where this table stands, the daemon keeps\n"
        "as much beside the ledger of originals that it deletes, so that there is something to show afterwards.",
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


class MasterSettings(Section):
    """What was bought is kept, so that further deliverables can be made of it at no cost."""

    keep_days: Whole = Field(default=180, ge=1, le=36_500, description="How long, after it was last used.")
    keep_gb: Real = Field(
        default=20.0,
        ge=0.01,
        le=1_000_000,
        description="How much, in gigabytes; what was not used for longest goes first.",
    )


def _background(value: str) -> str:
    if not re.fullmatch(r"#[0-9A-Fa-f]{6}", value):
        raise ValueError('must be a colour such as "#ffffff"')
    return value.lower()


def _profile(value: object) -> object:
    """Read the name of a colour space, or the path of a profile."""
    if value in ("source", "srgb", "adobe-rgb", "review"):
        return value
    path = _path(value)
    if Path(str(path)).suffix.lower() not in (".icc", ".icm"):
        raise ValueError('must be "source", "srgb" or the path of a profile (.icc)')
    return str(path)


def _margin(value: str) -> str:
    if not re.fullmatch(r"\d{1,2}(?:\.\d+)?%|\d{1,5}px", value):
        raise ValueError('must be a share such as "5%", or pixels such as "40px"')
    return value


def _deliverable_path(value: str) -> str:
    if (why := why_no_template(value)) is not None:
        raise ValueError(why)
    return value


def _pattern_of_names(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from error
    return value


Share = Annotated[Real, Field(ge=0, le=1)]
Profile = Annotated[str, BeforeValidator(_profile)]


_LONGEST_CANVAS_PX = 30_000


def _canvas(value: object) -> object:
    """Read a word or two sides, with one sentence for whatever else stands there."""
    if value in list(Canvas):
        return value
    sides = list(value) if isinstance(value, list | tuple) else []
    if len(sides) != 2 or not all(type(one) is int and 1 <= one <= _LONGEST_CANVAS_PX for one in sides):
        raise ValueError(f'must be "source", "object" or [width, height], each 1 to {_LONGEST_CANVAS_PX:,}')
    return value


class DeliverableSettings(Section):
    """A file that is made of each picture, locally and at no cost: `deliver` of a folder names it."""

    format: FileFormat = Field(default=FileFormat.PNG, description="png | webp | jpeg | tiff | avif.")
    depth: Literal["source", "8"] = Field(
        default="source", description="source: with 16 bits where picture and format have them | 8."
    )
    colour: Profile = Field(
        default="source", description="source: as the picture's | srgb | the path of a profile (.icc)."
    )
    background: Annotated[str, AfterValidator(_background)] | None = Field(
        default=None,
        description="A colour; without it transparent, where the format can be, else white.",
        examples=["#ffffff"],
    )
    canvas: Annotated[tuple[Whole, Whole] | Canvas, BeforeValidator(_canvas)] = Field(
        default=Canvas.SOURCE,
        description="source: as large as the picture | object: as the object and its margin | [width, height].",
        examples=[(2000, 2000)],
    )
    fill: Annotated[Real, Field(gt=0, le=1)] | None = Field(
        default=None, description="How much of the canvas's tighter side the object takes.", examples=[0.85]
    )
    margin: Annotated[str, AfterValidator(_margin)] = Field(
        default="0%", description="What stays free around the object, where `fill` does not say: a share, or pixels."
    )
    align: Align = Field(default=Align.CENTRE, description="centre | bottom: feet on one line | top.")
    enlarge: bool = Field(default=False, description="Whether a small object is enlarged to fill the canvas.")
    dpi: Annotated[Real, Field(ge=1, le=65_535)] | None = Field(
        default=None, description="The resolution that is written into it; without it the picture's.", examples=[300]
    )
    quality: Whole = Field(default=92, ge=1, le=100, description="Of jpeg, webp and avif.")
    max_kb: Annotated[Whole, Field(ge=1)] | None = Field(
        default=None,
        description="How large it may be: the quality goes down to 75 for that. What is too large still is told.",
        examples=[9500],
    )
    compression: Literal["deflate", "zip", "lzw", "none"] = Field(
        default="deflate", description="Of tiff: deflate (or zip, which is the same) | lzw | none."
    )
    upsample: Upsample = Field(
        default=Upsample.BICUBIC,
        description="How what was bought is enlarged to a larger picture: bicubic | guided: along the picture's edges.",
    )
    clipping_path: bool = Field(default=False, description="Whether the outline is a path in it, in jpeg and tiff.")
    metadata: Keep = Field(default=Keep.ALL, description="all | all+place | copyright | none, as of a folder.")
    path: Annotated[str, AfterValidator(_deliverable_path)] = Field(
        default="{deliverable}/{dir}/{stem}.{ext}",
        description="Where it goes, below the output. Known: {dir} {stem} {ext} {folder} {deliverable} {date} {width}\n"
        "{height}, the groups of `read_name`, the names of `tokens`, and what the picture says of itself:\n"
        "{iptc.title} {iptc.headline} {iptc.creator} {iptc.credit} {iptc.copyright} {exif.artist}\n"
        "{exif.copyright} {exif.date}.",
    )

    def deliverable(self, name: str) -> Deliverable:
        """Return it as a value."""
        values = {one: getattr(self, one) for one in type(self).model_fields}
        values["compression"] = "deflate" if self.compression == "zip" else self.compression
        return Deliverable(name=name, **values)


class TokenSettings(Section):
    """A token made out of another one, by a table of words."""

    source: str = Field(alias="from", description="The token that it is made of.")
    words: dict[str, str] = Field(description="What each of its values becomes; one that is not here is told.")


class ReviewLimits(Section):
    """From where on a person should look at a cut-out; shares are 0 to 1."""

    coverage_min: Share = Field(default=0.002, description="The least of the picture that an object covers.")
    coverage_max: Share = Field(default=0.98, description="The most.")
    border: Share = Field(default=0.98, description="The most of one border that it touches.")
    fragments: Whole = Field(default=30, ge=1, description="The most parts that it has; specks do not count.")
    holes: Whole = Field(default=100, ge=0, description="The most openings in it; specks do not count.")
    softness: Share = Field(default=0.7, description="The most of what is visible that is half transparent.")

    def limits(self) -> Limits:
        """Return them as a value."""
        return Limits(**self.model_dump())


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
