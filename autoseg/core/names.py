"""Names that strangers choose: those that become a file or folder, and those that are only shown. One rule for each.

A name is checked where it enters (records, layouts, bundles, plans of other programs), so that nobody behind has to ask
whether a path built of it stays where it should.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Sequence

LONGEST_PATH_NAME = 150  # bytes in UTF-8: file systems allow 255, endings and the names of unfinished files come on top
LONGEST_SHOWN_NAME = 200  # characters
LISTED = 20  # lines of a list in a message
SHORT = 100  # characters of what a message quotes
_FORBIDDEN = re.compile(r'[/\\:*?"<>|]')  # leads elsewhere, or is no name on Windows
_BRIEF = reprlib.Repr()
_BRIEF.maxlevel, _BRIEF.maxdict, _BRIEF.maxstring, _BRIEF.maxother = 3, 6, SHORT, SHORT
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)  # devices of Windows


def path_name(name: str, what: str) -> str:
    """``name`` if it can be the name of one file or folder on every system; ``what`` it names starts the message.

    Raises ValueError for a path, for what is hidden, reserved, too long or not printable, and for no name at all.
    """
    found = _shown_problem(name)
    if found is None and (letter := _FORBIDDEN.search(name)):
        found = f"holds {letter.group()!r}"
    if found is None and (name[0] in ". " or name[-1] in ". "):
        found = "begins or ends with a dot or a space"
    if found is None and _RESERVED.fullmatch(name):
        found = "is reserved on Windows"
    if found is None and len(name.encode()) > LONGEST_PATH_NAME:
        found = f"has {len(name.encode())} bytes, more than {LONGEST_PATH_NAME}"
    if found is not None:
        raise ValueError(
            f"{what} {short(name)!r} cannot be the name of a file: it {found}. Use letters, digits, - _ . and spaces"
        )
    return name


def shown_name(name: str, what: str) -> str:
    """``name`` if it can be written to files and terminals. It is no path: "prostate/uterus" is a fine label.

    Raises ValueError for what is too long or not printable, and for no name at all.
    """
    found = _shown_problem(name)
    if found is not None:
        raise ValueError(f"{what} {short(name)!r} cannot be a name: it {found}")
    return name


def short(value: object, most: int = SHORT) -> str:
    """``value`` as text of at most ``most`` characters, without its middle where it is longer: for messages.

    Of a list or dict only the beginning is looked at: a value may hold another one more often than can be written.
    """
    text = value if isinstance(value, str) else _BRIEF.repr(value)
    if len(text) <= most:
        return text
    half = (most - 5) // 2
    return f"{text[:half]} ... {text[-half:]}"


def first_of(lines: Sequence[str], most: int = LISTED) -> str:
    """The first ``most`` lines and how many more there are: a list in a message."""
    more = len(lines) - most
    return "\n".join(lines[:most]) + (f"\n... and {more} more" if more > 0 else "")


def _shown_problem(name: str) -> str | None:
    if not name.strip():
        return "is empty"
    if len(name) > LONGEST_SHOWN_NAME:
        return f"has {len(name)} characters, more than {LONGEST_SHOWN_NAME}"
    if any("\udc80" <= letter <= "\udcff" for letter in name):  # how Python shows bytes that are no letters to it
        return "holds bytes that the system's encoding cannot read (PYTHONUTF8=1 makes Python read UTF-8)"
    if not name.isprintable():  # control characters, invisible marks that turn the text around
        return "holds characters that cannot be printed"
    return None


def counted(count: int, what: str) -> str:
    """``1 case``, ``2 cases``."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
