"""Patterns and regular expressions from people's files: wrong ones are refused, and so are those that take for ever."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Collection
from fnmatch import fnmatchcase

from ..core.names import short
from ..errors import DatasetError

LONGEST = 500  # characters
PATIENCE = 7.0  # seconds for all names together; 100 000 take a tenth of one
_TRIAL = "import json, re, sys; e, names = json.load(sys.stdin); s = re.compile(e).search; [s(name) for name in names]"


def expression(text: str) -> str:
    """``text`` if it is a regular expression. Raises ValueError."""
    return _checked(text, "regular expression", re.compile)


def pattern(text: str) -> str:
    """``text`` if it is a pattern such as a shell's. Raises ValueError."""
    return _checked(text, "pattern", lambda pattern: fnmatchcase("", pattern))


def _checked(text: str, what: str, tried: Callable[[str], object]) -> str:
    if len(text) > LONGEST:
        raise ValueError(f"the {what} {short(text)!r} is longer than {LONGEST} characters")
    try:
        tried(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"the {what} {short(text)!r} cannot be understood: {short(str(error))}") from None
    return text


def refuse_slow(text: str, names: Collection[str]) -> None:
    """Raises DatasetError for a regular expression that does not come to an end.

    Nothing within this process can stop one, so it is tried in another.
    """
    command = [sys.executable, "-I", "-S", "-W", "ignore", "-c", _TRIAL]
    try:
        done = subprocess.run(
            command, input=json.dumps([text, list(names)]).encode(), capture_output=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise DatasetError(
            f"the regular expression {short(text)!r} takes too long for the {len(names)} names there are; repeats "
            "within repeats, as in (a+)+, do so"
        ) from None
    except OSError:  # no other process can be started: then it is the user's own
        return
    if done.returncode:
        raise DatasetError(f"the regular expression {short(text)!r} cannot be used")
