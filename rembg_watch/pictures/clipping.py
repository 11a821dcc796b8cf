"""
An outline as a clipping path: Photoshop's image resources 2000 and 2999, which layout programs crop by.

Only straight pieces; of a thing with hair a path would be of no use, so one of very many corners is none.
Adobe Photoshop File Formats Specification, "Path resource format".
"""

import struct
from collections.abc import Sequence

from rembg_watch.pictures.contour import Polygon

MOST_KNOTS = 2000
"""More corners no layout program likes, and they would not fit into a segment of a JPEG."""

_NAME = b"Path 1"
_PATH, _CLIPPING_PATH = 2000, 2999
_CLOSED, _CORNER, _FILL_RULE, _INITIAL_FILL = 0, 2, 6, 8
_RECORD_BYTES = 26
_LARGEST = 127.0


def resources(polygons: Sequence[Polygon]) -> bytes:
    """
    Return image resources that hold a clipping path.

    Args:
        polygons: Its closed pieces; corners as shares of the width and the height of the picture.
    """
    records = [_record(_FILL_RULE), _record(_INITIAL_FILL)]
    for polygon in polygons:
        records.append(_record(_CLOSED, struct.pack(">H", len(polygon))))
        records += [_record(_CORNER, (_fixed(y) + _fixed(x)) * 3) for x, y in polygon]
    name = bytes((len(_NAME),)) + _NAME
    return _resource(_PATH, b"".join(records), name) + _resource(_CLIPPING_PATH, name + bytes(6), b"\0")


def _record(kind: int, data: bytes = b"") -> bytes:
    return (struct.pack(">H", kind) + data).ljust(_RECORD_BYTES, b"\0")


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(max(-_LARGEST, min(_LARGEST, value)) * (1 << 24)))


def _resource(number: int, data: bytes, name: bytes) -> bytes:
    name += b"\0" * (len(name) % 2)
    return b"8BIM" + number.to_bytes(2, "big") + name + len(data).to_bytes(4, "big") + data + b"\0" * (len(data) % 2)
