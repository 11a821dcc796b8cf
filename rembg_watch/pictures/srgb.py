"""
What an ICC profile means for the colours that are sent: whether they are sRGB, or near enough to be taken for it.

ICC.1:2022. A profile that works by tables alone says nothing of this kind, and counts as another one.
"""

import struct
from collections.abc import Mapping

_SRGB = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))
"""What red, green and blue are in sRGB, as profiles state it."""

_NEAR, _NEAR_MIDDLE = 0.02, 0.03
_MIDDLE = 0.2140
"""How light half of the full value is in sRGB; gamma 2.2 differs by 0.004."""

_TABLE_AT, _MOST_TAGS, _MOST_TAG_BYTES = 128, 200, 1 << 17
_SPACE_AT = 16
_PARAMETERS = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}
"""How many numbers each kind of formula has."""

_UNIT = 65536.0  # of fixed-point numbers


def is_like_srgb(profile: bytes) -> bool:
    """Say whether colours look the same if they are taken for sRGB, or for its gray."""
    tags = _tags(profile)
    match profile[_SPACE_AT : _SPACE_AT + 4]:
        case b"RGB ":
            is_near = all(
                abs(found - wanted) <= _NEAR
                for name, wanted_xyz in zip((b"rXYZ", b"gXYZ", b"bXYZ"), _SRGB, strict=True)
                for found, wanted in zip(_xyz(tags.get(name, b"")), wanted_xyz, strict=True)
            )
            return is_near and _is_like_gamma(tags.get(b"rTRC", b""))
        case b"GRAY":
            return _is_like_gamma(tags.get(b"kTRC", b""))
    return False


def _tags(profile: bytes) -> Mapping[bytes, bytes]:
    if len(profile) < _TABLE_AT + 4:
        return {}
    (count,) = struct.unpack_from(">I", profile, _TABLE_AT)
    lines = range(_TABLE_AT + 4, min(_TABLE_AT + 4 + 12 * min(count, _MOST_TAGS), len(profile) - 11), 12)
    found = (struct.unpack_from(">4sII", profile, at) for at in lines)
    return {name: profile[at : at + min(size, _MOST_TAG_BYTES)] for name, at, size in found}


def _xyz(tag: bytes) -> tuple[float, float, float]:
    if len(tag) < 20:
        return (0.0, 0.0, 0.0)
    x, y, z = struct.unpack_from(">iii", tag, 8)
    return (x / _UNIT, y / _UNIT, z / _UNIT)


def _is_like_gamma(curve: bytes) -> bool:
    return abs(_middle(curve) - _MIDDLE) <= _NEAR_MIDDLE


def _middle(curve: bytes) -> float:
    """Say how light half of the full value is by a curve; 0 if that cannot be read."""
    try:
        if curve[:4] == b"curv":
            return _of_table(curve)
        return _of_formula(curve) if curve[:4] == b"para" else 0.0
    except (struct.error, ArithmeticError):
        return 0.0


def _of_table(curve: bytes) -> float:
    (count,) = struct.unpack_from(">I", curve, 8)
    if count == 0:
        return 0.5
    (value,) = struct.unpack_from(">H", curve, 12 + 2 * (count // 2))
    return float(0.5 ** (value / 256)) if count == 1 else value / 65535


def _of_formula(curve: bytes) -> float:
    """Reckon a parametric curve of any type at one half, where all of them are powers."""
    (kind,) = struct.unpack_from(">H", curve, 8)
    count = _PARAMETERS.get(kind, 0)
    numbers: list[float] = [one / _UNIT for one in struct.unpack_from(f">{count}i", curve, 12)]
    match kind, numbers:
        case 0, [gamma]:
            return float(0.5**gamma)
        case 1 | 3, [gamma, a, b, *_]:
            return _power(a * 0.5 + b, gamma)
        case 2, [gamma, a, b, added]:
            return _power(a * 0.5 + b, gamma) + added
        case 4, [gamma, a, b, _, _, added, _]:
            return _power(a * 0.5 + b, gamma) + added
    return 0.0


def _power(base: float, gamma: float) -> float:
    return float(base**gamma) if base > 0 else 0.0
