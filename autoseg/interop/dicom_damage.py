"""What can still be seen of a DICOM file that GDCM cannot read. Encodings: DICOM PS3.5, 7.1, and PS3.10, 7.1."""

from __future__ import annotations

import re

SEARCHED = 1 << 16  # bytes; both stand near the beginning
CLASS = re.compile(rb"\x02\x00\x02\x00UI..([0-9.]+)", re.DOTALL)
STUDY = re.compile(rb"\x20\x00\x0d\x00(?:UI..|....)([0-9.]+)", re.DOTALL)
STORAGE = "1.2.840.10008.5.1.4.1.1"
# Of cross-sectional images: CT, MR, PET, nuclear medicine, ultrasound of several frames, secondary captures.
IMAGES = tuple(f"{STORAGE}.{number}" for number in ("2", "2.1", "4", "4.1", "128", "130", "20", "3.1", "7"))


def meant_as_image(content: bytes) -> bool:
    """Whether the file says that it is one, or ends before it says anything."""
    found = CLASS.search(content[:SEARCHED])
    return found is None or found[1].decode() in IMAGES


def study_of(content: bytes) -> str:
    """The number of the study that the file belongs to; empty where it cannot be seen."""
    found = STUDY.search(content[:SEARCHED])
    return "" if found is None else found[1].decode()
