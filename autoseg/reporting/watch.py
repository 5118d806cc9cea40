"""`autoseg report --watch`: the page is written anew while a training runs, and reloads itself."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ..core.mishaps import is_ctrl_c
from ..pipeline.status import RUNNING
from ..workspace import Workspace
from .page import refuse_foreign, write
from .sections import Kept
from .source import Source, open_source
from .story import page_of, place_of, predictions_of, report

LOG = logging.getLogger("autoseg")
SECONDS = 30
ONCE = "nothing is being trained: the page is written once"
QUIET_LOOKS, QUIET_SECONDS = 2, 10  # between two folds of `train cv` none is being trained for a moment


def watch(
    target: str,
    workspace: Workspace,
    every: int = SECONDS,
    *,
    output: Path | None = None,
    pictures: bool = True,
    threads: int = 1,
    wait: Callable[[float], None] = time.sleep,
) -> Path:
    """As ``story.report``, again after ``every`` seconds until nothing of ``target`` is being trained, or Ctrl-C.

    Sections whose files have not changed are taken from before, so that it costs little beside a training. The last
    page does not reload itself any more.
    """
    if predictions_of(target) is not None:
        LOG.info(ONCE)
        return report(target, workspace, output=output, pictures=pictures, threads=threads)
    files, configuration, fold, path = place_of(target, workspace, output)
    refuse_foreign(path)
    options = {"configuration": configuration, "fold": fold, "pictures": pictures, "threads": threads}
    kept: Kept = {}
    enough = max(QUIET_LOOKS, math.ceil(QUIET_SECONDS / every))
    quiet, seen, told = 0, False, False
    try:
        while True:
            source = open_source(files, **options)
            running = _is_trained(source)
            quiet, seen = 0 if running else quiet + 1, seen or running
            if not seen:
                LOG.info(ONCE)
            if not seen or quiet >= enough:
                break
            write(path, replace(page_of(source, kept), reload=every))
            if not told:
                LOG.info("%s shows the training, anew every %d s; Ctrl-C ends this, not the training", path, every)
            told = True
            wait(every)
    except KeyboardInterrupt as asked:
        write(path, page_of(open_source(files, **options), kept))
        if not is_ctrl_c(asked):
            raise
        return path
    write(path, page_of(source, kept))
    return path


def _is_trained(source: Source) -> bool:
    return any(line.state in RUNNING for line in source.lines)
