"""
Make one deliverable of a source picture and of what was bought for it: from files to a file, and nothing else.

Pixels are the source's own, at its full size and depth; what was bought says how opaque they are. They are computed
in strips while they are written. This decodes, so it runs in a child process (``delivery.decoder``).
"""

import math
import os
from contextlib import suppress
from dataclasses import dataclass, field

from rembg_watch.errors import RembgWatchError
from rembg_watch.pictures import alphas, clipping, colours, contour, edges, framing, writing
from rembg_watch.pictures.alphas import WrongMasterError, most_of
from rembg_watch.pictures.colours import ColourError, Colours
from rembg_watch.pictures.deliverable import Canvas, Deliverable, Edges, FileFormat, Master
from rembg_watch.pictures.framing import Box, Frame, FramingError
from rembg_watch.pictures.opening import NotOpenedError, Opened, open_picture, why_not_computed
from rembg_watch.pictures.profiles import SRGB
from rembg_watch.pictures.upright import COPY, SOURCE
from rembg_watch.pictures.vips import MissingLibraryError, Picture, vips

AS_IS = "as it is"
"""How a source was sent whose answer may be turned in either way."""

EIGHT_BIT, NO_CLIPPING_PATH = "eight_bit", "no_clipping_path"

_HELD_BYTES = 96 << 20
"""A picture that needs no more than this is decoded once and held; a larger one is decoded twice."""

_HEADROOM = 1.5
"""A picture that becomes smaller is decoded at least so much larger: the last step wants some pixels to choose from."""

_WHITE = "#ffffff"
_NO_MEMORY = ("out of memory", "unable to allocate", "cannot allocate memory")
_BLOCK_BYTES = 1 << 20
_GAMUT_PX = 300
_PATH_PX = 2000
_LEAST_TOLERANCE_PX = 0.5


class NotRenderedError(RembgWatchError):
    """
    A deliverable cannot be made; the sentence says why and what to do.

    Attributes:
        code: For machines.
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """
    What is to be made of what.

    Attributes:
        source: The source, an open file; None: it is gone, and the master has to do.
        sent: How it was sent: ``as it is``, or another way, in which it stood upright.
        master: The path of what was bought.
        kind: What that is.
        deliverable: What is wanted.
        output: An open file, for reading and writing; what it holds is replaced.
        scratch: Another one, whose content is nobody's.
        edges: What colours soft edges get.
        assume: The profile of a source that has none: ``srgb``, ``adobe-rgb`` or a path.
        is_guided: An alpha that is made larger follows the edges of the source.
    """

    source: int | None
    sent: str
    master: str
    kind: Master
    deliverable: Deliverable
    output: int
    scratch: int
    edges: Edges = Edges.CLEAN
    assume: str = SRGB
    is_guided: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A deliverable that was made."""

    width: int
    height: int
    size_bytes: int
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picture:
    """What a deliverable is made of, on its way from decoding to writing."""

    job: Rendering
    fd: int  # where the colours come from
    alpha: Picture  # of the master, upright
    opened: Opened  # as the whole picture; only what its header says is read
    frame: Frame
    how: Colours
    is_lenient: bool
    remarks: list[str] = field(default_factory=list)

    @property
    def wanted(self) -> Deliverable:
        return self.job.deliverable

    def again(self, least_px: int | None = None) -> Picture:
        """Return the colours once more, to be read from the top: as large as before, or smaller."""
        if self.opened.is_held:
            return self.opened.smaller(least_px).image if least_px else self.opened.image
        if least_px is None and self.opened.shrink > 1:
            least_px = max(self.opened.stored.width, self.opened.stored.height)
        return open_picture(self.fd, least_px=least_px, is_lenient=self.is_lenient).image


def render(job: Rendering) -> Rendered:
    """
    Make a deliverable.

    Raises:
        NotRenderedError: It cannot be made.
        OSError: The disk refused; ``filename`` is ``SOURCE``, ``COPY`` or the path of the master.
        MemoryError: There is not enough for it.
    """
    try:
        return _rendered(job, is_lenient=False)
    except MissingLibraryError as error:
        raise NotRenderedError("missing_library", str(error)) from error
    except vips().Error as error:
        _raise_if_not_the_picture(job, error)
        return _rendered_leniently(job, error)
    except NotOpenedError as error:
        raise NotRenderedError(error.code, str(error)) from error
    except WrongMasterError as error:
        raise NotRenderedError(error.code, str(error)) from error
    except ColourError as error:
        raise NotRenderedError("colour", str(error)) from error
    except FramingError as error:
        raise NotRenderedError("no_room", f"There is no room for the object: {error}.") from error
    except OSError as error:
        raise OSError(error.errno, error.strerror, error.filename or SOURCE) from error


def _rendered_leniently(job: Rendering, error: Exception) -> Rendered:
    """
    Try once more with Pillow, which shows what every viewer shows of a file that lacks its end mark.

    Raises:
        NotRenderedError: It is broken.
    """
    with suppress(vips().Error, RembgWatchError):
        return _rendered(job, is_lenient=True)
    raise NotRenderedError("broken", why_not_computed(error)) from error


def _raise_if_not_the_picture(job: Rendering, error: Exception) -> None:
    """Blame memory or a disk where it was one of them: libvips does not tell them apart from a broken picture."""
    if any(words in str(error).lower() for words in _NO_MEMORY):
        raise MemoryError from error
    try:
        os.pwrite(job.scratch, bytes(_BLOCK_BYTES), os.fstat(job.scratch).st_size)
    except OSError as refused:
        raise OSError(refused.errno, refused.strerror, COPY) from error
    if job.source is None:
        return
    try:
        at = 0
        while block := os.pread(job.source, _BLOCK_BYTES, at):
            at += len(block)
    except OSError as refused:
        raise OSError(refused.errno, refused.strerror, SOURCE) from error


def _rendered(job: Rendering, *, is_lenient: bool) -> Rendered:
    with open(job.master, "rb", buffering=0) as master:  # noqa: PTH123 - open until all is written
        picture = _planned(job, master.fileno(), is_lenient=is_lenient)
        _check_sides(picture)
        finished = _finished(picture)
        try:
            more = writing.write(finished, picture.wanted, job.output, job.scratch)
        except OSError as error:
            raise OSError(error.errno, error.strerror, COPY) from error
        remarks = [*picture.remarks, *more]
    width, height = picture.frame.canvas
    size_bytes = os.fstat(job.output).st_size
    return Rendered(width=width, height=height, size_bytes=size_bytes, remarks=tuple(dict.fromkeys(remarks)))


def _planned(job: Rendering, master: int, *, is_lenient: bool) -> _Picture:
    """Decide everything that headers and the alpha decide."""
    wanted = job.deliverable
    alpha = alphas.read_alpha(master, job.kind)
    from_fd = _pixels_of(job, master)
    opened = open_picture(from_fd, is_lenient=is_lenient)
    size = opened.width, opened.height
    if job.source is not None:
        alpha = alphas.turned_to(alpha, size, opened.orientation if job.sent == AS_IS else 1)
    box = alphas.object_box(alpha, size) if wanted.canvas is not Canvas.SOURCE else Box(0, 0, *size)
    if box is None:
        raise NotRenderedError("empty", "Nothing is left of the picture: what was bought is transparent everywhere.")
    frame = framing.frame(wanted, size, box)
    if frame.scale < 1 / _HEADROOM:
        least_px = math.ceil(max(size) * frame.scale * _HEADROOM)
        opened = (
            opened.smaller(least_px)
            if opened.is_held
            else open_picture(from_fd, least_px=least_px, is_lenient=is_lenient)
        )
        frame = framing.frame(wanted, size, box, opened.shrink)
    how = colours.chosen(wanted, opened, job.assume)
    picture = _Picture(job=job, fd=from_fd, alpha=alpha, opened=opened, frame=frame, how=how, is_lenient=is_lenient)
    picture.remarks.extend((*frame.remarks, *how.remarks, *opened.remarks))
    return picture


def _pixels_of(job: Rendering, master: int) -> int:
    """Say which file the colours come from."""
    if job.source is not None:
        return job.source
    if job.kind is not Master.CUTOUT:
        raise NotRenderedError("no_source", "The source is gone, and nothing can be made of a mask alone.")
    return master


def _check_sides(picture: _Picture) -> None:
    most, (width, height) = writing.LARGEST_SIDE_PX[picture.wanted.format], picture.frame.canvas
    if max(width, height) > most:
        raise NotRenderedError(
            "too_large",
            f"It would be {width} x {height} pixels, and a {picture.wanted.format.upper()} file holds at most {most} "
            "each way: choose another `format` or a smaller `canvas`.",
        )


# --- pixels -------------------------------------------------------------------------------------


def _finished(picture: _Picture) -> writing.Finished:
    image, alpha, sample = _with_alpha(picture)
    if colours.is_worth_a_look(picture.how):
        _look_at_gamut(picture, sample)
    image, alpha = _framed(picture, image, alpha)
    bits = _bits(picture)
    image = colours.converted(image, picture.how, depth=bits)
    background = picture.wanted.background or (None if picture.wanted.format.has_alpha else _WHITE)
    image = _at_depth(image, bits)
    alpha = _at_depth(alpha, bits)
    if background is not None:
        filling = colours.background_of(background, picture.how, most=most_of(image))
        image = _on_canvas(picture.frame, _flattened(image, alpha, filling), filling)
    else:
        image = _on_canvas(picture.frame, image.bandjoin(alpha), [0.0] * (image.bands + 1))
    return writing.Finished(
        image=colours.named(image, picture.how.made_kind),
        has_alpha=background is None,
        profile=picture.how.made,
        metadata=picture.opened.metadata,
        path=_clipping_path(picture),
    )


def _bits(picture: _Picture) -> int:
    """Say how many bits the file gets."""
    wanted = picture.wanted
    if picture.opened.bits == 8 or wanted.depth != "source":
        return 8
    if wanted.format in (FileFormat.JPEG, FileFormat.WEBP):
        picture.remarks.append(EIGHT_BIT)
        return 8
    return 16


def _with_alpha(picture: _Picture) -> tuple[Picture, Picture, Picture | None]:
    """Return the picture with its final colours, and its alpha, as large as it was opened; and a small one."""
    opened, job = picture.opened, picture.job
    image = opened.image
    size = image.width, image.height
    item = 1 if opened.bits == 8 else 2
    is_cleaned = job.source is not None and job.edges is Edges.CLEAN
    own, small = opened.alpha, None
    again = image
    if is_cleaned and not (opened.is_held or opened.is_turned):
        if size[0] * size[1] * (image.bands + (own is not None)) * item <= _HELD_BYTES:
            image, own = _held(image, own)
            again = image
        else:
            again = picture.again()
    alpha = alphas.resized(picture.alpha, size, image.format)
    if is_cleaned:
        factor = edges.shrink_for_means(*size)
        small = again.shrink(factor, factor, ceil=True).cast(again.format).copy_memory()
        image = edges.cleaned(image, alpha, edges.means(small, picture.alpha, factor), factor)
    return image, alphas.joined_with_own(alpha, own) if job.source is not None else alpha, small


def _held(image: Picture, own: Picture | None) -> tuple[Picture, Picture | None]:
    """Compute a picture and its own alpha in one go: they come of one file, which is read once."""
    if own is None:
        return image.copy_memory(), None
    both = image.bandjoin(own).copy_memory()
    return both.extract_band(0, n=image.bands).copy(interpretation=image.interpretation), both.extract_band(image.bands)


def _framed(picture: _Picture, image: Picture, alpha: Picture) -> tuple[Picture, Picture]:
    """Take what is seen of the picture and make it as large as it is to be."""
    frame, grid, bands = picture.frame, picture.opened.shrink, image.bands
    crop = frame.crop
    window = Box(crop.left // grid, crop.top // grid, crop.width // grid, crop.height // grid)
    if window != Box(0, 0, image.width, image.height):
        image = image.crop(window.left, window.top, window.width, window.height)
        alpha = alpha.crop(window.left, window.top, window.width, window.height)
    if frame.scaled == (window.width, window.height):
        return image, alpha
    most = most_of(image)
    joined = image.bandjoin(alpha).premultiply(max_alpha=most)
    scales = frame.scaled[0] / window.width, frame.scaled[1] / window.height
    joined = joined.resize(scales[0], vscale=scales[1], kernel="lanczos3").crop(0, 0, *frame.scaled)
    joined = joined.unpremultiply(max_alpha=most) * (65535 / most) + 0.5
    apart = joined.cast("ushort")
    return apart.extract_band(0, n=bands), apart.extract_band(bands)


def _at_depth(image: Picture, bits: int) -> Picture:
    if bits == 8 and image.format == "ushort":
        return (image * (1 / 257) + 0.5).cast("uchar")
    if bits == 16 and image.format == "uchar":
        return (image * 257).cast("ushort")
    return image


def _flattened(image: Picture, alpha: Picture, filling: list[float]) -> Picture:
    share = alpha * (1 / most_of(alpha))
    mixed = image * share + (1 - share) * filling + 0.5
    return (alpha == most_of(alpha)).ifthenelse(image, mixed.cast(image.format))


def _on_canvas(frame: Frame, image: Picture, filling: list[float]) -> Picture:
    (left, top), (width, height) = frame.at, frame.canvas
    cut_left, cut_top = max(0, -left), max(0, -top)
    right, bottom = min(image.width, width - left), min(image.height, height - top)
    if (cut_left, cut_top, right, bottom) != (0, 0, image.width, image.height):
        image = image.crop(cut_left, cut_top, right - cut_left, bottom - cut_top)
    if (image.width, image.height) == (width, height):
        return image
    rounded = [math.floor(value + 0.5) for value in filling]
    return image.embed(max(0, left), max(0, top), width, height, extend="background", background=rounded)


def _look_at_gamut(picture: _Picture, sample: Picture | None) -> None:
    """Remark colours that the deliverable cannot have, by a small copy."""
    if sample is None:
        sample = picture.again(_GAMUT_PX)
    factor = max(1, max(sample.width, sample.height) // _GAMUT_PX)
    small = sample.shrink(factor, factor, ceil=True).cast(sample.format).copy_memory()
    alpha = alphas.resized(picture.alpha, (small.width, small.height), "uchar")
    if colours.is_out_of_gamut(small, alpha, picture.how):
        picture.remarks.append(colours.OUT_OF_GAMUT)


def _clipping_path(picture: _Picture) -> bytes:
    """Outline the object where it stands on the canvas."""
    if not picture.wanted.clipping_path or picture.wanted.format not in (FileFormat.JPEG, FileFormat.TIFF):
        return b""
    factor = max(1, max(picture.alpha.width, picture.alpha.height) // _PATH_PX)
    small = picture.alpha.shrink(factor, factor, ceil=True).cast(picture.alpha.format)
    small = alphas.resized(small, (small.width, small.height), "uchar").copy_memory()
    across = picture.opened.width * factor / picture.alpha.width
    down = picture.opened.height * factor / picture.alpha.height
    tolerance = max(_LEAST_TOLERANCE_PX, 1 / (across * picture.frame.scale))
    found = contour.outlines(small.write_to_memory(), small.width, small.height)
    polygons = [contour.simplified(one, tolerance) for one in found]
    if not 0 < sum(map(len, polygons)) <= clipping.MOST_KNOTS:
        picture.remarks.append(NO_CLIPPING_PATH)
        return b""
    return clipping.resources(
        [[picture.frame.share_of(x * across, y * down) for x, y in polygon] for polygon in polygons]
    )
