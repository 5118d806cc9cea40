"""From sections to one HTML file: nothing is loaded from elsewhere, and nothing that a name holds can run.

Names of cases and labels come from strangers. In the page they are escaped, in its data they cannot end the script
element, and the script writes them as text. The page forbids itself everything but its own script, by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path

from ..core.files import atomic_file, holds, refuse_unwritable, remove_unfinished
from ..core.records import to_json
from ..errors import UsageError
from .blocks import Drawn, Section

ASSETS = Path(__file__).parent / "assets"
SCRIPTS = (
    *("elements.js", "axes.js", "charts.js", "pairs.js", "tables.js", "matrix.js", "unet.js"),
    *("volumes.js", "planes.js", "gestures.js", "viewer.js", "pictures.js", "page.js", "live.js"),
)
READ = 200  # characters at the begin of a page
MARK = '<meta name="generator" content="autoseg report">'
_IN_SCRIPTS = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


@dataclass(frozen=True)
class Page:
    """What one file shows."""

    title: str
    subtitle: str
    version: str
    sections: tuple[Section, ...]
    notices: tuple[str, ...] = ()
    """What of the dataset could not be read."""
    reload: int | None = None
    """Seconds after which an open page looks at its file again; None: never."""


def render(page: Page) -> str:
    """The whole file."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in SCRIPTS)
    drawn = [block for section in page.sections for block in section.blocks if isinstance(block, Drawn)]
    places = iter(range(len(drawn)))  # blocks are written in this order
    return environment.get_template("page.html").render(
        page=page,
        made=time.strftime("%Y-%m-%d %H:%M"),
        mark=MARK,
        style=(ASSETS / "style.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=json_in_page([to_json(block) for block in drawn]),
        next_place=lambda: next(places),
    )


def json_in_page(value: object) -> str:
    """JSON that may stand within a script element, whatever its texts hold."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for character, escaped in _IN_SCRIPTS.items():  # faster than `translate`, for megabytes of pictures
        text = text.replace(character, escaped)
    return text


def refuse_foreign(path: Path) -> None:
    """Raises UsageError where a file lies that is no report, and OSError where none can be written."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give -o the name of a file, for example {path / 'report.html'}")
    if path.exists() and not holds(path, (MARK,)):
        raise UsageError(f"{path} exists and is no report of autoseg; remove it or choose another name with -o")
    refuse_unwritable(path.absolute().parent)


def reload_of(path: Path) -> int | None:
    """Seconds after which a page that lies there looks for a newer one; None: never, or there is none."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            found = re.search(r'<html [^>]*data-reload="(\d{1,5})"', file.read(READ))
    except OSError:
        return None
    return int(found[1]) if found else None


def write(path: Path, page: Page) -> None:
    """Complete or not at all; replaces only a report. Raises UsageError or OSError."""
    refuse_foreign(path)
    remove_unfinished(path.absolute().parent)
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(render(page))
