"""What is seen of a DICOM file without GDCM: whether it is whole, an image, and of which study.

GDCM makes room for as many bytes as a damaged file announces, gigabytes if it says so, before it notices that they are
not there. Encodings: DICOM PS3.5, 7.1 and 7.5, and PS3.10, 7.1.
"""

from __future__ import annotations

import re
import struct

META = 132  # bytes before the first element
SEARCHED = 1 << 16  # bytes; what is looked for stands near the beginning
CLASS = re.compile(rb"\x02\x00\x02\x00UI..([0-9.]+)", re.DOTALL)
SYNTAX = re.compile(rb"\x02\x00\x10\x00UI..([0-9.]+)", re.DOTALL)
STUDY = re.compile(rb"\x20\x00\x0d\x00(?:UI..|....)([0-9.]+)", re.DOTALL)
STORAGE = "1.2.840.10008.5.1.4.1.1"
# Of cross-sectional images: CT, MR, PET, nuclear medicine, ultrasound of several frames, secondary captures.
IMAGES = tuple(f"{STORAGE}.{number}" for number in ("2", "2.1", "4", "4.1", "128", "130", "20", "3.1", "7"))
DEFLATED, BIG_ENDIAN = b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.2"
LONG = (
    b"OB",
    b"OD",
    b"OF",
    b"OL",
    b"OV",
    b"OW",
    b"SQ",
    b"SV",
    b"UC",
    b"UN",
    b"UR",
    b"UT",
    b"UV",
)  # with 32-bit lengths
SEQUENCES = (b"SQ", b"UN", b"")  # the types of elements that may hold further ones
ITEM, PIXELS = (0xFFFE, 0xE000), (0x7FE0, 0x0010)
ITEM_BYTES = {order: struct.pack(f"{order}HH", *ITEM) for order in "<>"}
UNDEFINED = 0xFFFFFFFF


def meant_as_image(content: bytes) -> bool:
    """Whether the file says that it is one, or ends before it says anything."""
    found = CLASS.search(content[:SEARCHED])
    return found is None or found[1].decode() in IMAGES


def study_of(content: bytes) -> str:
    """The number of the study that the file belongs to; empty where it cannot be seen."""
    found = STUDY.search(content[:SEARCHED])
    return "" if found is None else found[1].decode()


def ends_early(content: bytes) -> bool:
    """Whether any element, in sequences too, announces more bytes than there are left in the file."""
    syntax = SYNTAX.search(content[:SEARCHED])
    if syntax is not None and syntax[1] == DEFLATED:  # nothing can be seen, and nothing is announced
        return False
    swapped = syntax is not None and syntax[1] == BIG_ENDIAN
    at, end, order, in_pixels = META, len(content), "<", False
    while at + 8 <= end:
        if swapped and content[at : at + 2] != b"\x02\x00":  # the elements of group 2 never are
            order = ">"
        tag = struct.unpack_from(f"{order}HH", content, at)
        kind, length, start = _announced(content, at, order, tag)
        if length != UNDEFINED and start + length > end:
            return True
        in_pixels = (tag == PIXELS and length == UNDEFINED) or (in_pixels and tag == ITEM)
        sequence = kind in SEQUENCES and tag != PIXELS and content[start : start + 4] == ITEM_BYTES[order]
        inside = length == UNDEFINED or sequence or (tag == ITEM and not in_pixels)
        at = start if inside else start + length
    return False


def _announced(content: bytes, at: int, order: str, tag: tuple[int, ...]) -> tuple[bytes, int, int]:
    """The type of an element, empty where none stands there, its bytes, and where they begin."""
    kind = content[at + 4 : at + 6]
    if tag[0] == ITEM[0] or not (kind.isalpha() and kind.isupper()):
        return b"", struct.unpack_from(f"{order}I", content, at + 4)[0], at + 8
    if kind not in LONG:
        return kind, struct.unpack_from(f"{order}H", content, at + 6)[0], at + 8
    if at + 12 > len(content):
        return kind, UNDEFINED - 1, at + 8
    return kind, struct.unpack_from(f"{order}I", content, at + 8)[0], at + 12
