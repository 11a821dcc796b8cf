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
from rembg_watch.pictures import alphas, clipping, colours, composing, contour, edges, framing, guided, writing
from rembg_watch.pictures.alphas import WrongMasterError, most_of
from rembg_watch.pictures.colours import ColourError, Colours
from rembg_watch.pictures.deliverable import Canvas, Deliverable, Edges, FileFormat, Master, Upsample
from rembg_watch.pictures.framing import Box, Frame, FramingError
from rembg_watch.pictures.opening import NotOpenedError, Opened, open_picture, why_not_computed
from rembg_watch.pictures.rendering import NotRenderedError, Rendered, Rendering
from rembg_watch.pictures.upright import COPY, SOURCE
from rembg_watch.pictures.vips import MissingLibraryError, Picture, vips

AS_IS = "as it is"
NO_ORIGINAL = "no_original"
"""How a source was sent whose answer may be turned in either way."""

EIGHT_BIT, NO_CLIPPING_PATH = "eight_bit", "no_clipping_path"

_HELD_BYTES = 96 << 20
"""A picture that needs no more than this is decoded once and held; a larger one is decoded twice."""

_HEADROOM = 1.5
"""A picture that becomes smaller is decoded at least so much larger: the last step wants some pixels to choose from."""

_NEARLY = 0.95  # of its picture's side: an alpha that has so much of it is not worth guiding
_WHITE = "#ffffff"
_NO_MEMORY = ("out of memory", "unable to allocate", "cannot allocate memory")
_BLOCK_BYTES = 1 << 20
_GAMUT_PX = 300
_PATH_PX = 2000
_LEAST_TOLERANCE_PX = 0.5


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
    box, remarks = alphas.object_box(alpha, size) if wanted.canvas is not Canvas.SOURCE else (Box(0, 0, *size), ())
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
    lost = (NO_ORIGINAL,) if job.source is None else ()
    picture.remarks.extend((*lost, *remarks, *frame.remarks, *how.remarks, *opened.remarks))
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
    image, alpha = _pixels(picture)
    bits = _bits(picture)
    image = composing.at_depth(colours.converted(image, picture.how, depth=bits), bits)
    alpha = composing.at_depth(alpha, bits)
    background = picture.wanted.background or (None if picture.wanted.format.has_alpha else _WHITE)
    if background is not None:
        filling = colours.background_of(background, picture.how, most=most_of(image))
        image = composing.on_canvas(composing.flattened(image, alpha, filling), picture.frame, filling)
    else:
        image = composing.on_canvas(image.bandjoin(alpha), picture.frame, [0.0] * (image.bands + 1))
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


def _pixels(picture: _Picture) -> tuple[Picture, Picture]:
    """Return colours and alpha of what is seen of the picture, as large as it is to be."""
    if picture.job.source is None or picture.job.edges is Edges.AS_IS:
        return _as_they_are(picture)
    return _cleaned_small(picture) if picture.frame.scale < 1 else _cleaned_large(picture)


def _as_they_are(picture: _Picture) -> tuple[Picture, Picture]:
    opened = picture.opened
    image, own = opened.image, opened.alpha if picture.job.source is not None else None
    alpha = alphas.joined_with_own(_large_alpha(picture, image), own, was_sent=picture.job.sent == AS_IS)
    if colours.is_worth_a_look(picture.how):
        _look_at_gamut(picture, picture.again(_GAMUT_PX), picture.alpha)
    seen = composing.cropped(image.bandjoin(alpha), picture.frame, opened.shrink)
    return composing.parted(composing.resized_by_alpha(seen, picture.frame.scaled), image.bands)


def _cleaned_small(picture: _Picture) -> tuple[Picture, Picture]:
    """
    Make the picture smaller first, and clean its edges then.

    What is mixed in a pixel is mixed in a larger one, too, and there are fewer of them.
    """
    opened, frame = picture.opened, picture.frame
    bands = [opened.image, *([] if opened.alpha is None else [opened.alpha])]
    seen = composing.cropped(composing.joined(bands), frame, opened.shrink)
    both = composing.resized(seen, frame.scaled).copy_memory()
    image, own = both.extract_band(0, n=opened.bands), both.extract_band(opened.bands) if len(bands) > 1 else None
    alpha = alphas.framed(picture.alpha, (opened.width, opened.height), frame, both.format).copy_memory()
    return _cleaned(picture, image, image, alpha, alpha), alphas.joined_with_own(
        alpha, own, was_sent=picture.job.sent == AS_IS
    )


def _cleaned_large(picture: _Picture) -> tuple[Picture, Picture]:
    """Clean the edges of the picture as it is, and make it larger then, if it is to be."""
    opened = picture.opened
    image, own = opened.image, opened.alpha
    again, bands = image, image.bands
    if not (opened.is_held or opened.is_turned):
        item = 1 if opened.bits == 8 else 2
        if image.width * image.height * opened.stored.bands * item <= _HELD_BYTES:
            both = composing.joined([image, *([] if own is None else [own])]).copy_memory()
            image, own = both.extract_band(0, n=bands), None if own is None else both.extract_band(bands)
            again = image
        else:
            again = picture.again()
    alpha = _large_alpha(picture, image)
    image = _cleaned(picture, image, again, alpha, picture.alpha)
    seen = composing.cropped(
        image.bandjoin(alphas.joined_with_own(alpha, own, was_sent=picture.job.sent == AS_IS)),
        picture.frame,
        opened.shrink,
    )
    return composing.parted(composing.resized_by_alpha(seen, picture.frame.scaled), bands)


def _large_alpha(picture: _Picture, image: Picture) -> Picture:
    """Return the alpha as large as a picture."""
    size = image.width, image.height
    if (
        picture.wanted.upsample is not Upsample.GUIDED
        or picture.job.source is None
        or picture.alpha.width >= size[0] * _NEARLY
    ):
        return alphas.resized(picture.alpha, size, image.format)
    small = picture.again(max(picture.alpha.width, picture.alpha.height))
    small = composing.resized(small, (picture.alpha.width, picture.alpha.height)).copy_memory()
    return guided.follows(picture.alpha, small, image)


def _cleaned(picture: _Picture, image: Picture, again: Picture, alpha: Picture, small_alpha: Picture) -> Picture:
    """Clean the edges of a picture that is at hand once more, for the means of its colours."""
    factor = edges.shrink_for_means(image.width, image.height)
    small = again.shrink(factor, factor, ceil=True).cast(again.format).copy_memory()
    if colours.is_worth_a_look(picture.how):
        _look_at_gamut(picture, small, small_alpha)
    return edges.cleaned(image, alpha, edges.means(small, small_alpha, factor), factor)


def _look_at_gamut(picture: _Picture, sample: Picture, alpha: Picture) -> None:
    """Remark colours that the deliverable cannot have, by a small copy."""
    factor = max(1, max(sample.width, sample.height) // _GAMUT_PX)
    small = sample.shrink(factor, factor, ceil=True).cast(sample.format).copy_memory()
    if colours.is_out_of_gamut(small, alphas.resized(alpha, (small.width, small.height), "uchar"), picture.how):
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
