"""What this machine is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from . import _arguments as given

if TYPE_CHECKING:
    from ..pipeline.doctor_packages import Finding
    from ..settings import RunSettings


def doctor(workspace: str | Path | None = None, *, settings: RunSettings | None = None) -> list[Finding]:
    """Devices, precision, threads, memory, disk and packages, each with its state and what to change.

    autoseg can work where no ``state`` is "problem". Raises UsageError for a device that is not there.
    """
    from ..pipeline.doctor import doctor as story
    from ..settings import RunSettings

    return story(given.workspace_in(workspace).root, settings or RunSettings())
