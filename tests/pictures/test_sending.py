"""Colours that are sRGB, and the way in which a picture is sent."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ImageCms

from rembg_watch.pictures.formats import MAX_UPLOAD_BYTES, Kind, Look, ReadKind
from rembg_watch.pictures.metadata import Metadata, Parts
from rembg_watch.pictures.profiles import adobe_rgb
from rembg_watch.pictures.sending import Sends, way_of
from rembg_watch.pictures.srgb import is_like_srgb

_MADE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SRGB = _MADE[:24] + bytes(12) + _MADE[36:]  # without the moment at which it was made
SRGB_XYZ = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))
P3_XYZ = ((0.5151, 0.2412, -0.0011), (0.2919, 0.6922, 0.0419), (0.1572, 0.0666, 0.7841))
PROPHOTO_XYZ = ((0.7977, 0.2880, 0.0), (0.1352, 0.7119, 0.0), (0.0313, 0.0001, 0.8249))


def fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256))


def table(*values: int) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(f">I{len(values)}H", len(values), *values)


def formula(kind: int, *values: float) -> bytes:
    return b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + fixed(*values)


SRGB_CURVE = formula(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def profile(curve: bytes, space: bytes = b"RGB ", xyz: tuple[tuple[float, ...], ...] = SRGB_XYZ) -> bytes:
    tags = {b"kTRC": curve}
    if space == b"RGB ":
        tags = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
        tags |= {
            name: b"XYZ \0\0\0\0" + fixed(*one) for name, one in zip((b"rXYZ", b"gXYZ", b"bXYZ"), xyz, strict=True)
        }
    lines, data = b"", b""
    for name, value in tags.items():
        lines += name + struct.pack(">II", 132 + 12 * len(tags) + len(data), len(value))
        data += value
    head = bytes(16) + space + bytes(16) + b"acsp"
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + lines + data


@pytest.mark.parametrize(
    ("data", "is_like"),
    [
        (SRGB, True),
        (profile(gamma(2.2)), True),
        (profile(SRGB_CURVE), True),
        (profile(table(*(round(65535 * (n / 255) ** 2.2) for n in range(256)))), True),
        (profile(formula(0, 2.2)), True),
        (profile(formula(1, 2.2, 1, 0)), True),
        (profile(formula(2, 2.2, 1, 0, 0)), True),
        (profile(formula(4, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045, 0, 0)), True),
        (profile(formula(2, 2.2, 1, 0, 0.3)), False),
        (profile(formula(9, 2.2, 1, 0)), False),
        (profile(formula(3, 2.2)), False),
        (profile(gamma(2.2), b"GRAY"), True),
        (adobe_rgb(), False),
        (profile(SRGB_CURVE, xyz=P3_XYZ), False),
        (profile(gamma(1.8), xyz=PROPHOTO_XYZ), False),
        (profile(gamma(1.8)), False),
        (profile(gamma(1.0)), False),
        (profile(table()), False),
        (profile(gamma(1.8), b"GRAY"), False),
        (profile(gamma(2.2), b"CMYK"), False),
        (profile(b"????" + bytes(20)), False),
        (b"", False),
        (b"no profile at all", False),
    ],
)
def test_profiles_that_mean_srgb_are_told_from_others(data: bytes, is_like: bool) -> None:
    assert is_like_srgb(data) is is_like


@given(st.binary(max_size=400), st.integers(0, 300), st.sampled_from([SRGB, adobe_rgb(), profile(SRGB_CURVE)]))
def test_no_profile_is_an_error(noise: bytes, at: int, data: bytes) -> None:
    is_like_srgb(noise)
    is_like_srgb(profile(b"para" + noise))
    is_like_srgb(profile(b"curv" + noise))
    is_like_srgb(data[:at] + noise + data[at + len(noise) :])
    is_like_srgb(data[: len(data) - at])


JPEG = {
    "kind": Kind.JPEG,
    "name": "a JPEG picture",
    "width_px": 4000,
    "height_px": 3000,
    "is_whole": True,
    "colours": "RGB",
}
NO_WORDS = Parts(metadata=Metadata(), picture=())


@pytest.mark.parametrize(
    ("change", "way"),
    [
        ({}, "as it is"),
        ({"orientation": 6}, "upright"),
        ({"colours": "GRAY"}, "as it is"),
        ({"colours": "CMYK"}, "proxy 4000 v1"),
        ({"bits": 12}, "proxy 4000 v1"),
        ({"width_px": 4001}, "proxy 4000 v1"),
        ({"height_px": 10_001, "orientation": 3}, "proxy 4000 v1"),
        ({"kind": Kind.PNG, "bits": 16}, "proxy 4000 v1"),
        ({"kind": Kind.PNG, "bits": 4}, "as it is"),
        ({"kind": Kind.WEBP}, "as it is"),
        ({"kind": None, "read_kind": ReadKind.TIFF, "orientation": 8}, "proxy 4000 v1"),
    ],
)
def test_the_way_follows_from_what_a_picture_is(change: dict[str, object], way: str) -> None:
    look = Look(**{**JPEG, **change})  # type: ignore[arg-type]
    assert way_of(look, NO_WORDS, 1000, Sends(px=4000)) == way
    if look.kind is not None:
        plainly = "upright" if look.orientation != 1 else "as it is"
        assert way_of(look, NO_WORDS, 1000, Sends()) == plainly
        assert way_of(look, NO_WORDS, 1000, Sends(upright=False)) == "as it is"


def test_a_file_that_is_too_large_goes_as_a_copy() -> None:
    look = Look(**JPEG)  # type: ignore[arg-type]
    assert way_of(look, NO_WORDS, MAX_UPLOAD_BYTES, Sends(px=4000)) == "as it is"
    assert way_of(look, NO_WORDS, MAX_UPLOAD_BYTES + 1, Sends(px=4000)) == "proxy 4000 v1"


def test_colours_that_a_service_may_take_for_others_go_as_a_copy() -> None:
    look = Look(**JPEG)  # type: ignore[arg-type]
    for data, way in ((SRGB, "as it is"), (adobe_rgb(), "proxy 4000 v1"), (b"broken", "proxy 4000 v1")):
        parts = Parts(metadata=Metadata(profile=data), picture=(), states_colours=True)
        assert way_of(look, parts, 1000, Sends(px=4000)) == way
