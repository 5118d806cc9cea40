"""One process at a time, and whoever waits says for whom."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from autoseg.core.locks import alone

HOLD = """
import sys, time
from pathlib import Path
from autoseg.core.locks import alone
with alone(Path(sys.argv[1]), "select"):
    print("held", flush=True)
    sys.stdin.readline()
"""


def holder(lock: Path) -> subprocess.Popen[str]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], text=True, **pipes)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize("killed", [False, True])
def test_the_second_waits_until_the_first_has_ended_however_that_ends(
    killed: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lock = tmp_path / "Dataset001_X" / ".plan.lock"
    first = holder(lock)
    left = lock.parent / f".writing-{first.pid}-0123abcd-plan.json"
    left.touch()

    class EndsTheFirst(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            first.kill() if killed else first.communicate("\n")

    handler = EndsTheFirst()
    logging.getLogger("autoseg").addHandler(handler)
    try:
        with caplog.at_level("INFO"), alone(lock, "plan"):
            who = json.loads(lock.with_name(".plan.lock.json").read_text())
            assert (who["doing"], who["process"]) == ("plan", os.getpid())
    finally:
        logging.getLogger("autoseg").removeHandler(handler)
        first.kill()
        first.communicate()
    said = f"waiting for `autoseg select` (process {first.pid} on {socket.gethostname()}), on Dataset001_X"
    assert said in caplog.text
    assert killed or not left.exists()  # of a process killed and not yet waited for the number is still taken
    assert not lock.with_name(".plan.lock.json").exists()


def test_a_disk_without_locks_is_worked_on_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import filelock

    def refuse(self: object, *_: object, **__: object) -> None:
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with alone(tmp_path / ".plan.lock", "plan"):
        (tmp_path / "plan.json").touch()
    assert "cannot be locked" in caplog.text
