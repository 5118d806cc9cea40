"""Which files of a folder are images, and what is said where none is."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from ...core.names import short
from ...errors import DatasetError, ImageFileError
from ...parts.readers import ENDINGS, ending_of

DICOM_ENDINGS = (".dcm", ".ima", ".dicom")
DICOM_MARK_AT, DICOM_MARK = 128, b"DICM"
HINTS = {
    (".hdr", ".img"): "Pairs of .hdr and .img are read by nothing here: convert them to .nii.gz",
    (".npy", ".npz"): "Arrays know no spacing: save them as .nii.gz with the spacing in mm",
    (".part", ".crdownload", ".tmp", ".download"): "Some downloads have not finished: fetch these files again",
}
MOST_FOLDERS = 10  # that are looked through for DICOM files
LOOKED_INTO = 3  # files without a known ending that are opened to see whether they are DICOM


def stem(path: Path) -> str:
    """The name without the image ending."""
    return path.name[: -len(ending_of(path))]


def is_image(path: Path) -> bool:
    """Whether the name says so."""
    try:
        ending_of(path)
    except ImageFileError:
        return False
    return not path.name.startswith(".")  # such as macOS's ._CASE.nii.gz, which are no images


def images_in(folder: Path) -> list[Path]:
    """Absolute paths, sorted."""
    return sorted(path.absolute() for path in folder.iterdir() if is_image(path)) if folder.is_dir() else []


def others_in(folder: Path) -> list[Path]:
    """What lies beside the images and is not hidden, sorted."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and not is_image(path))


def nothing_in(folder: Path) -> list[Path]:
    """Raises: there is no image in ``folder``."""
    if not folder.is_dir():
        raise DatasetError(f"{folder}: there is no such folder")
    return no_cases(folder, [*images_in(folder), *others_in(folder)], " or ".join(ENDINGS))


def no_cases(folder: Path, found: Sequence[Path], expected: str) -> list[Path]:
    """Raises: none of what was found has the expected ending."""
    endings = Counter(map(_ending, found))
    there = ", ".join(_counted(count, ending) for ending, count in endings.most_common(5)) or "nothing"
    hints = [hint for kinds, hint in HINTS.items() if any(ending in kinds for ending in endings)]
    if _holds_dicom(found):
        hints.append("These are DICOM files: `autoseg convert dicom FOLDER DATASET` makes a dataset of them")
    said = "".join(f". {hint}" for hint in hints)
    raise DatasetError(f"{folder}: no cases. Expected files ending {expected}; found {there}{said}")


def not_a_file(path: Path) -> str | None:
    """Why there is no file to read; None where there is one."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if path.is_symlink():
            return f"is a link to {short(str(path.readlink()))}, which does not exist"
        return "does not exist"
    except (OSError, ValueError) as error:
        return f"cannot be looked at ({getattr(error, 'strerror', None) or error})"
    if stat.S_ISDIR(mode):
        return "is a folder, not a file"
    return None if stat.S_ISREG(mode) else "is no file but a pipe, socket or device"


def _ending(path: Path) -> str:
    if is_image(path):
        return ending_of(path)
    if path.is_dir():
        return "folder"
    ending = path.suffix.lower()
    return "" if ending[1:].isdigit() else short(ending, 20)


def _counted(count: int, ending: str) -> str:
    if ending == "folder":
        return f"{count} folder{'s' * (count > 1)}"
    return f"{count} ending {ending}" if ending else f"{count} without an ending"


def _holds_dicom(found: Iterable[Path]) -> bool:
    """Whether some of them are DICOM files, or folders that begin with some."""
    there = [*found]
    unknown = [path for path in there if _ending(path) in ("", *DICOM_ENDINGS)]
    inside = [each for path in there if path.is_dir() for each in _first_files(path)][:LOOKED_INTO]
    if any(path.suffix.lower() in DICOM_ENDINGS for path in [*unknown, *inside]):
        return True
    for path in [path for path in [*unknown, *inside] if not_a_file(path) is None][: 2 * LOOKED_INTO]:
        try:
            with path.open("rb") as file:
                file.seek(DICOM_MARK_AT)
                if file.read(len(DICOM_MARK)) == DICOM_MARK:
                    return True
        except OSError:
            continue
    return False


def _first_files(folder: Path) -> list[Path]:
    """Of the first few folders in it, which may be those of patients, studies and series."""
    found: list[Path] = []
    for looked, (place, folders, names) in enumerate(os.walk(folder)):
        folders.sort()
        found += [Path(place, name) for name in sorted(names) if not name.startswith(".")][:1]
        if found or looked >= MOST_FOLDERS:
            break
    return found
