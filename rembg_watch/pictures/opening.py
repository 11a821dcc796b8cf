"""
Open any picture that can be read, upright, as a picture of libvips that has not been computed yet.

Whatever a file holds, what comes out has 8 or 16 bits and is gray, RGB or CMYK, without its alpha, which comes
beside it. Where it can it streams: nothing is held but the strips in flight. This decodes, so it runs in a child
process (``delivery.decoder``).
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

from PIL import BmpImagePlugin, Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin  # noqa: F401

from rembg_watch.errors import RembgWatchError
from rembg_watch.pictures import carrying, directories, exif, formats, psd_pixels
from rembg_watch.pictures.metadata import Metadata, colours_of_profile
from rembg_watch.pictures.profiles import adobe_rgb
from rembg_watch.pictures.reader import Reader
from rembg_watch.pictures.vips import MissingLibraryError, Picture, as_file, from_rows, heif, vips

MOST_PX = 600_000_000
"""A larger picture is refused by its header: no studio has one, and the time that it takes is nobody's."""

_IN_MEMORY_BYTES = 700 << 20
"""Up to this a picture that is to be turned is held in memory meanwhile; beyond, libvips puts it into a file."""

_MIRRORED = 2  # of the orientations, the only one for which a row stays where it was
_LAST_UPRIGHT = 4  # those above exchange the sides
_RGB_BANDS = 3
_EIGHT = 8
_EXTRA_SAMPLES, _ALPHAS = 338, (1, 2)  # libvips divides the colours by one that they were multiplied with
_MOST_BANDS = 64
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")
_JPEG_SHRINKS = (8, 4, 2)


class NotOpenedError(RembgWatchError):
    """
    No picture comes out of a file.

    Attributes:
        code: For machines: ``unreadable``, ``broken``, ``too_large`` or ``missing_library``.
    """

    def __init__(self, sentence: str, *, code: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True, kw_only=True)
class Opened:
    """
    A picture as it is seen. What its header says is known; its pixels are computed when somebody reads them.

    Attributes:
        stored: Of libvips, ``uchar`` or ``ushort``, not yet turned; behind its colours its alpha, if it has one.
        bands: Of its colours: 1 is gray, 3 are RGB, 4 are CMYK.
        width: Of the whole picture as it is seen, also where it was opened smaller.
        height: Likewise.
        profile: ICC, of its colours; empty: nothing says what they mean.
        orientation: How it has to be turned, as EXIF counts it.
        metadata: What the file says of its picture.
        shrink: By how much it was opened smaller.
        remarks: What was lost, as codes: ``from_lab``, ``from_float``.
        is_held: It is in memory, and can be read in any order and again.
    """

    stored: Picture
    bands: int
    width: int
    height: int
    profile: bytes
    orientation: int
    metadata: Metadata
    shrink: int = 1
    remarks: tuple[str, ...] = ()
    is_held: bool = False

    @property
    def bits(self) -> int:
        """How many bits each band has."""
        return 8 if self.stored.format == "uchar" else 16

    @property
    def colours(self) -> str:
        """The kind of colours by the name that ICC profiles use."""
        return {1: "GRAY", 3: "RGB", 4: "CMYK"}[self.bands]

    @property
    def is_turned(self) -> bool:
        """Whether it has to be held to be turned, and is once it was read."""
        return self.orientation not in (1, _MIRRORED)

    @cached_property
    def _upright(self) -> Picture:
        needs_holding = self.is_turned and not self.is_held
        return _turned(_held(self.stored) if needs_holding else self.stored, self.orientation)

    @cached_property
    def image(self) -> Picture:
        """Its colours, upright."""
        return _named(self._upright.extract_band(0, n=self.bands))

    @cached_property
    def alpha(self) -> Picture | None:
        """Its own alpha, of as many bits; None: it has none."""
        return _named(self._upright.extract_band(self.bands)) if self.stored.bands > self.bands else None

    def smaller(self, least_px: int) -> "Opened":
        """Return it smaller, its longer side still *least_px*, at least."""
        factor = max(1, max(self.stored.width, self.stored.height) // least_px)
        if factor == 1:
            return self
        stored = self.stored.shrink(factor, factor, ceil=True).cast(self.stored.format)
        if self.is_held:
            stored = stored.copy_memory()
        return replace(self, stored=stored, shrink=self.shrink * factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decoded:
    """What a loader has said, not yet turned and in whatever numbers there are."""

    image: Picture
    profile: bytes
    metadata: Metadata
    orientation: int = 1
    has_alpha: bool = True  # where there are more bands than colours; a selection that was saved is none
    shrink: int = 1
    is_held: bool = False


def open_picture(
    fd: int, *, least_px: int | None = None, is_streaming: bool = True, is_lenient: bool = False
) -> Opened:
    """
    Open a picture, upright, with its profile; of several pages the first.

    Args:
        fd: The file; it is opened once more, so that its position does not matter and does not change.
        least_px: So many pixels its longer side must have, at least, if it has as many: a smaller picture is
            decoded faster, and takes less memory to be turned.
        is_streaming: It is computed once, from its top to its bottom.
        is_lenient: What lacks its end mark is opened by Pillow, which does not mind.

    Raises:
        NotOpenedError: It cannot be opened. What is broken further down shows when it is computed, as an error
            of libvips (``why_not_computed``).
        OSError: The disk refused.
    """
    path = f"/proc/self/fd/{fd}"
    reader = Reader(lambda count, at: os.pread(fd, count, at), os.fstat(fd).st_size)
    try:
        loader = _by_pillow if is_lenient and _is_known_to_pillow(reader.head) else _loader(reader)
        decoded = loader(reader, path, least_px, is_streaming)
        opened = _opened(decoded, is_held=decoded.is_held or not is_streaming)
        return opened.smaller(least_px) if least_px else opened
    except NotOpenedError:
        raise
    except psd_pixels.PsdError as error:
        raise NotOpenedError(str(error), code="unreadable") from error
    except MissingLibraryError as error:
        raise NotOpenedError(str(error), code="missing_library") from error
    except OSError as error:
        if error.errno is not None:  # the disk, not the picture
            raise
        raise NotOpenedError(why_not_computed(error), code="broken") from error
    except (ValueError, SyntaxError, EOFError, RuntimeError, Image.DecompressionBombError) as error:
        raise NotOpenedError(why_not_computed(error), code="broken") from error
    except vips().Error as error:
        raise NotOpenedError(why_not_computed(error), code="broken") from error


def why_not_computed(error: Exception) -> str:
    """Put what libvips says of a broken picture into a sentence."""
    text = str(getattr(error, "detail", "") or error).strip().partition("\n")[0]
    text = text.replace("/proc/self/fd/", "file ")
    if "ecurity limit" in text:  # libheif's own, against files that say that they are huge
        return f"Its decoder takes nothing as large as it says it is ({text}): export it smaller, or as a TIFF."
    return f"It cannot be decoded to its end ({text}): export it again."


_Loader = Callable[[Reader, str, int | None, bool], _Decoded]


def _loader(reader: Reader) -> _Loader:
    head = reader.head
    found: Mapping[bytes, _Loader] = {
        b"\xff\xd8\xff": _jpeg,
        b"\x89PNG": _png,
        b"BM": _by_pillow,
        psd_pixels.MAGIC: _psd,
    }
    for magic, loader in found.items():
        if head.startswith(magic):
            return loader
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _webp
    if head[:4] in directories.MAGICS:
        return _tiff
    if head[4:8] == b"ftyp" and head[8:12] in _AVIF_BRANDS:
        return _avif
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        return _avif if _is_avif(head) else _heic
    raise NotOpenedError("It is no picture of a kind that can be read.", code="unreadable")


def _is_known_to_pillow(head: bytes) -> bool:
    """Say whether Pillow loses nothing of a picture but its end: of a PNG of 16 bits it would lose eight."""
    return head.startswith((b"\xff\xd8\xff", b"BM", b"RIFF")) or (head.startswith(b"\x89PNG") and head[24] <= _EIGHT)


def _is_avif(head: bytes) -> bool:
    """Say whether a file of a general brand is an AVIF, by the brands that it is compatible with."""
    size = int.from_bytes(head[:4], "big")
    return any(head[at : at + 4] in _AVIF_BRANDS for at in range(16, min(size, 256), 4))


# --- one loader for each kind -------------------------------------------------------------------


def _options(*, is_streaming: bool) -> dict[str, str]:
    return {"access": "sequential" if is_streaming else "random", "fail_on": "error"}


def _jpeg(reader: Reader, path: str, least_px: int | None, is_streaming: bool) -> _Decoded:  # noqa: FBT001
    load, options, shrink = vips().Image.jpegload, _options(is_streaming=is_streaming), 1
    image = load(path, **options)
    if least_px is not None:
        longest = max(image.width, image.height)
        shrink = next((by for by in _JPEG_SHRINKS if longest // by >= least_px), 1)
        image = load(path, shrink=shrink, **options) if shrink > 1 else image
    return _of_container(reader, image, formats.Kind.JPEG, shrink)


def _png(reader: Reader, path: str, _least_px: int | None, is_streaming: bool) -> _Decoded:  # noqa: FBT001
    return _of_container(reader, vips().Image.pngload(path, **_options(is_streaming=is_streaming)), formats.Kind.PNG)


def _webp(reader: Reader, path: str, _least_px: int | None, is_streaming: bool) -> _Decoded:  # noqa: FBT001
    return _of_container(reader, vips().Image.webpload(path, **_options(is_streaming=is_streaming)), formats.Kind.WEBP)


def _of_container(reader: Reader, image: Picture, kind: formats.Kind, shrink: int = 1) -> _Decoded:
    metadata = carrying.parts_of(reader, kind).metadata
    look = formats.inspect(reader, wants_orientation=True)
    return _Decoded(
        image=image, profile=metadata.profile, metadata=metadata, orientation=look.orientation, shrink=shrink
    )


def _tiff(reader: Reader, path: str, _least_px: int | None, is_streaming: bool) -> _Decoded:  # noqa: FBT001
    tiff = directories.Tiff(reader)
    first = tiff.directory(tiff.first_at)
    if _is_for_pillow(tiff, first):
        return _by_pillow(reader, path, None, is_streaming)
    image = vips().Image.tiffload(path, **_options(is_streaming=is_streaming))
    metadata = carrying.parts_of(reader, formats.ReadKind.TIFF).metadata
    return _Decoded(
        image=image,
        profile=metadata.profile,
        metadata=metadata,
        orientation=_orientation(image),
        has_alpha=tiff.number(first, _EXTRA_SAMPLES) in _ALPHAS,
    )


def _is_for_pillow(tiff: directories.Tiff, first: directories.Directory) -> bool:
    """Say if libvips does not read a TIFF, and Pillow loses nothing of it."""
    is_tiled_in_planes = tiff.number(first, 284) == 2 and 322 in first.fields
    is_lab, is_packed = tiff.number(first, 262) == 8, tiff.number(first, 259) in (6, 34925)  # old JPEG, LZMA
    bits = islice(tiff.numbers(first.fields.get(258)), _MOST_BANDS)
    return (is_lab or is_packed or is_tiled_in_planes) and max(bits, default=8) <= 8


def _avif(reader: Reader, path: str, _least_px: int | None, is_streaming: bool) -> _Decoded:  # noqa: FBT001
    image = vips().Image.heifload(path, **_options(is_streaming=is_streaming))
    metadata = carrying.parts_of(reader, formats.ReadKind.AVIF).metadata
    profile = metadata.profile or _blob(image, "icc-profile-data")
    return _Decoded(image=image, profile=profile, metadata=metadata)  # libheif has turned it already


def _heic(reader: Reader, path: str, _least_px: int | None, _is_streaming: bool) -> _Decoded:  # noqa: FBT001
    opened = heif().open_heif(path, convert_hdr_to_8bit=False)
    if opened.size[0] * opened.size[1] > MOST_PX:
        raise _too_large(*opened.size)
    mode, _, bits = opened.mode.partition(";")
    bands, item = len(mode), 2 if bits else 1
    data, (width, height), row = opened.data, opened.size, opened.stride
    if row != width * bands * item:
        rows = memoryview(data)
        data = b"".join(rows[at : at + width * bands * item] for at in range(0, row * height, row))
    image = from_rows(bytes(data), width, height, bands, "ushort" if bits else "uchar")
    metadata = carrying.parts_of(reader, formats.ReadKind.HEIC).metadata
    profile = bytes(opened.info.get("icc_profile") or b"") or metadata.profile
    return _Decoded(image=image, profile=profile, metadata=metadata, is_held=True)  # libheif has turned it


def _psd(reader: Reader, path: str, _least_px: int | None, _is_streaming: bool) -> _Decoded:  # noqa: FBT001
    found = psd_pixels.composite(reader, path)
    image, mode = found.image, found.mode
    scale = {"uchar": 255, "ushort": 65535, "float": 1}[image.format]
    if mode == psd_pixels.CMYK:  # stored as light, not as ink
        image = image.invert().copy(interpretation="cmyk")
    if mode == psd_pixels.LAB:
        image = (image * [100 / scale, 255 / scale, 255 / scale] - [0, 128, 128]).copy(interpretation="lab")
    metadata = carrying.parts_of(reader, formats.ReadKind.PSD).metadata
    return _Decoded(image=image, profile=found.profile, metadata=metadata, has_alpha=False, is_held=True)


def _by_pillow(reader: Reader, path: str, _least_px: int | None, _is_streaming: bool) -> _Decoded:  # noqa: FBT001
    Image.MAX_IMAGE_PIXELS = MOST_PX
    with Image.open(path, formats=("BMP", "TIFF", "JPEG", "PNG", "WEBP")) as opened:
        if opened.width * opened.height > MOST_PX:
            raise _too_large(*opened.size)
        opened.load()
        picture: Image.Image = opened
        profile, dpi = picture.info.get("icc_profile") or b"", picture.info.get("dpi")
        if picture.mode not in ("L", "RGB", "RGBA", "CMYK", "LAB"):
            picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
        if picture.mode == "LAB":  # its bytes have a and b signed, its bands have them around 128
            picture = Image.merge("RGB", picture.split())
        image = from_rows(picture.tobytes(), picture.width, picture.height, len(picture.getbands()), "uchar")
        if picture.mode == "CMYK":
            image = image.copy(interpretation="cmyk")
        if opened.mode == "LAB":
            image = (image * [100 / 255, 1, 1] - [0, 128, 128]).copy(interpretation="lab")
    look = formats.inspect(reader, wants_orientation=True)
    metadata = carrying.parts_of(reader, look.kind).metadata
    if metadata.is_empty:
        metadata = Metadata(profile=profile, dpi=exif.sensible_dpi(*map(float, dpi)) if dpi else None)
    return _Decoded(image=image, profile=profile, metadata=metadata, orientation=look.orientation, is_held=True)


def _blob(image: Picture, name: str) -> bytes:
    return bytes(image.get(name)) if image.get_typeof(name) else b""


def _orientation(image: Picture) -> int:
    value = image.get("orientation") if image.get_typeof("orientation") else 1
    return int(value) if value in range(1, 9) else 1


# --- what all have in common --------------------------------------------------------------------


def _too_large(width: int, height: int) -> NotOpenedError:
    return NotOpenedError(f"It says that it is {width} x {height} pixels: export it smaller.", code="too_large")


def _opened(decoded: _Decoded, *, is_held: bool) -> Opened:
    width, height = decoded.image.width * decoded.shrink, decoded.image.height * decoded.shrink
    if width * height > MOST_PX:
        raise _too_large(width, height)
    stored, bands, profile, remarks = _plain(decoded)
    is_on_its_side = decoded.orientation > _LAST_UPRIGHT
    return Opened(
        stored=stored,
        bands=bands,
        width=height if is_on_its_side else width,
        height=width if is_on_its_side else height,
        profile=profile,
        orientation=decoded.orientation,
        metadata=decoded.metadata,
        shrink=decoded.shrink,
        remarks=remarks,
        is_held=is_held,
    )


def _plain(decoded: _Decoded) -> tuple[Picture, int, bytes, tuple[str, ...]]:
    """Bring a picture to 8 or 16 bits of gray, RGB or CMYK; return also how many bands are colours and no alpha."""
    image, alpha = _stripped(decoded.image), None
    if image.coding != "none":
        image = image.colourspace("lab")
    bands = _colour_bands(image)
    if decoded.has_alpha and image.bands > bands:
        alpha = image.extract_band(bands)
    if image.bands > bands:
        image = image.extract_band(0, n=bands)
    image, profile, remarks = _in_known_colours(image, decoded)
    if not remarks and image.format in ("float", "double"):
        remarks = ("from_float",)
    image = _as_whole_numbers(image, is_light=not profile and image.interpretation == "scrgb")
    if alpha is not None:
        alpha = _as_whole_numbers(alpha, is_light=False)
        image = image.bandjoin(alpha if alpha.format == image.format else (alpha * (65535 / 255)).cast(image.format))
    return image, bands, profile, remarks


def _colour_bands(image: Picture) -> int:
    if image.interpretation == "cmyk" and image.bands >= 4:
        return 4
    return 3 if image.bands >= 3 else 1


def _in_known_colours(image: Picture, decoded: _Decoded) -> tuple[Picture, bytes, tuple[str, ...]]:
    """Say what the colours mean; those of Lab, which few formats hold, become a wide RGB."""
    if image.interpretation in ("lab", "labs"):
        lab = image.colourspace("lab") if image.interpretation == "labs" else image.cast("float")
        with as_file(adobe_rgb()) as profile_path:
            rgb = lab.icc_export(
                output_profile=profile_path, depth=16, intent="relative", black_point_compensation=True
            )
        return rgb, adobe_rgb(), ("from_lab",)
    profile = decoded.profile
    if colours_of_profile(profile) != {1: "GRAY", 3: "RGB", 4: "CMYK"}[image.bands]:
        profile = b""
    if not profile and image.bands == _RGB_BANDS and exif.is_adobe_rgb(decoded.metadata.exif):
        profile = adobe_rgb()
    return image, profile, ()


def _as_whole_numbers(image: Picture, *, is_light: bool) -> Picture:
    """Bring numbers of any kind to 8 or 16 bits; those of light itself get the curve of sRGB."""
    match image.format:
        case "uchar" | "ushort":
            return image
        case "uint":
            return (image / 65537.0 + 0.5).cast("ushort")
        case "float" | "double":
            if is_light:
                return image.copy(interpretation="scrgb").colourspace("rgb16")
            return (image * 65535.0 + 0.5).cast("ushort")
    raise NotOpenedError(
        f"It has numbers of a kind that is not read ({image.format}): export it with 8 or 16 bits.", code="unreadable"
    )


def _named(image: Picture) -> Picture:
    """Say of numbers what they are; whatever else they were before."""
    names = {1: ("b-w", "grey16"), 3: ("srgb", "rgb16"), 4: ("cmyk", "cmyk")}
    return image.copy(interpretation=names[image.bands][image.format == "ushort"])


_TELLING = ("exif-", "iptc-", "xmp-", "icc-", "photoshop-", "orientation", "png-comment", "image-description")


def _stripped(image: Picture) -> Picture:
    """Take away what a file says, lest it is written where it is not true."""
    image = image.copy()
    for name in image.get_fields():
        if name.startswith(_TELLING):
            image.remove(name)
    return image


def _turned(image: Picture, how: int) -> Picture:
    match how:
        case 2:
            return image.fliphor()
        case 3:
            return image.rot180()
        case 4:
            return image.flipver()
        case 5:
            return image.rot90().fliphor()
        case 6:
            return image.rot90()
        case 7:
            return image.rot270().fliphor()
        case 8:
            return image.rot270()
    return image


def _held(image: Picture) -> Picture:
    """Compute a picture now, so that it can be read in any order."""
    if image.width * image.height * image.bands * (1 if image.format == "uchar" else 2) <= _IN_MEMORY_BYTES:
        return image.copy_memory()
    held = vips().Image.new_temp_file("%s.v")
    image.write(held)
    return held
