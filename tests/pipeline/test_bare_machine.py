"""The whole way on a machine that gives little: every disk is read-only but the workspace, the user is nobody, there is
no home folder, no shared memory and no letter beyond ASCII."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoseg.pipeline.demo import NAME, make_dataset

pytestmark = pytest.mark.slow

READ_ONLY = (
    'mount --bind "$0" "$0" && mount -o remount,bind,ro / && mount -t tmpfs -o ro none /dev/shm && '
    'exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"'
)
UNWANTED = ("HOME", "TMPDIR", "XDG_CACHE_HOME", "LANG")
LITTLE = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONDONTWRITEBYTECODE": "1"}


def on_a_bare_machine(workspace: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in UNWANTED} | LITTLE
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", READ_ONLY, str(workspace), sys.executable, *words],
        cwd="/",
        env=environment,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder that others may read, and in it ``workspace``, which they may write to. pytest closes its own to others.

    Skips where a machine cannot be made so bare.
    """
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        folder = Path(name) / "workspace"
        folder.mkdir()
        os.chown(folder, 65534, 65534)
        try:
            bare = on_a_bare_machine(folder, "-c", "import autoseg.cli, tempfile; tempfile.gettempdir()")
        except OSError:
            pytest.skip("there is no unshare")
        if "No usable temporary directory" not in bare.stderr:
            pytest.skip(f"disks cannot be made read-only for another user here: {bare.stderr[-200:]}")
        yield Path(name)


def test_the_whole_way_where_only_the_workspace_can_be_written(root: Path) -> None:
    workspace = root / "workspace"
    raw = make_dataset(root / NAME, cases=4, tests=1)
    made, output = ["--workspace", str(workspace)], workspace / "predicted"
    short = ["--set", "training.iterations_per_epoch=2", "--epochs", "1"]
    for words in (
        ["check", str(raw), *made],
        ["plan_and_preprocess", str(raw), "--planner", "tiny", "-c", "2d", *made],
        ["train", NAME, "cv", *short, *made],
        ["predict", "-i", str(raw / "imagesTs"), "-o", str(output), "-m", NAME, *made],
        ["evaluate", str(raw / "labelsTs"), str(output), "-o", str(workspace / "scores"), *made],
        ["export", NAME, "-o", str(workspace / "model.zip"), *made],
    ):
        done = on_a_bare_machine(workspace, "-m", "autoseg", *words)
        assert done.returncode == 0, (words, done.stdout[-2000:], done.stderr[-2000:])
    assert len(list(output.glob("*.nii.gz"))) == 1
    scores = json.loads((workspace / "scores" / "scores.json").read_text())
    assert len(scores["cases"]) == 1


def test_a_name_that_the_encoding_cannot_read_names_the_remedy(root: Path) -> None:
    workspace = root / "workspace"
    raw = make_dataset(root / NAME, cases=1, tests=0)
    for path in sorted(raw.rglob("*.nii.gz")):
        path.rename(path.with_name(f"M\N{LATIN SMALL LETTER U WITH DIAERESIS}ller-{path.name}"))
    words = ["-m", "autoseg", "check", str(raw), "--workspace", str(workspace)]
    refused = on_a_bare_machine(workspace, *words)
    assert refused.returncode == 2 and "PYTHONUTF8=1" in refused.stderr
    assert on_a_bare_machine(workspace, "-X", "utf8", *words).returncode == 0
