"""Label maps that are called after their image and what they are: ``p7_seg.nii.gz``."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

from ...core.names import short
from ...errors import DatasetError
from .folders import stem

LOG = logging.getLogger("autoseg")
ENDING = re.compile("[-_.](?:seg|segmentation|label|labels|labelmap|mask|masks|gt)", re.IGNORECASE)
CHANNEL = re.compile("_[0-9]{4}")


def without_ending(images: Collection[Path], labels: Mapping[str, Path], folder: Path) -> dict[str, Path]:
    """``labels``, by names of files, by names of cases: without the ending that all of them share.

    Nothing changes where none is called after an image but for such an ending. Raises DatasetError where some are, and
    others are not or have another ending.
    """
    names = {stem(path) for path in images}
    names |= {name[:-5] for name in names if CHANNEL.fullmatch(name[-5:])}
    counts = Counter(label_ending_in(name, names) for name in labels if name not in names)
    endings = {ending for ending in counts if ending}
    if not endings:
        return dict(labels)
    plain = len(names.intersection(labels))
    if len(endings) > 1 or plain:
        told = [f"CASE{short(ending)} ({count})" for ending, count in counts.most_common(5) if ending]
        told += [f"CASE ({plain})"] * bool(plain)
        raise DatasetError(
            f"{folder}: label maps of different cases have different names: {', '.join(told)}. Leave the ending out of "
            "all of them, or give all the same"
        )
    (ending,) = endings
    LOG.info("%s: the label map of CASE is called CASE%s", folder, short(ending))
    return {name.removesuffix(ending): path for name, path in labels.items()}


def label_ending_in(name: str, cases: Collection[str]) -> str | None:
    """What parts the name of a label map, without the ending of its format, from that of one of the ``cases``."""
    start = max(name.rfind(letter) for letter in "-_.")
    return name[start:] if start > 0 and ENDING.fullmatch(name[start:]) and name[:start] in cases else None
