"""What befalls a command from outside: real processes on full disks, closed pipes, as another user, and by signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from autoseg.cli import main
from autoseg.core.mishaps import explained, out_of_memory, printable
from autoseg.pipeline.demo import NAME, make_dataset

START = [sys.executable, "-c", "import sys; from autoseg.cli import main; sys.exit(main())"]
NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("mishaps") / NAME, cases=2, tests=1)


def run(*words: str, shell: str = "", cwd: Path | None = None, **environment: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error; ``shell`` follows the command in bash."""
    line = " ".join(["exec" if "|" not in shell else "", '"$@"', shell])
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}", "bash", *START, *words],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        errors="replace",
    )
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_nobody_reads_what_is_written(raw: Path) -> None:
    assert run("train", "--help", shell="| true")[0] in (0, 141)
    words = ("check", str(raw), "--workspace", str(raw.parent / "ws"))
    assert run(*words, shell="| true")[0] in (0, 141)
    assert run(*words, shell="2>&1 | true")[0] in (0, 141)


@pytest.mark.slow
def test_streams_that_are_closed_or_full(raw: Path) -> None:
    words = ("check", str(raw), "--workspace", str(raw.parent / "ws"))
    assert run(*words, shell=">&-")[0] == 0
    assert run(*words, shell="2>&-")[0] == 0
    assert run(*words, shell=">&- 2>&-")[0] == 0
    assert run(*words, shell="2>/dev/full")[0] == 0
    code, _, said = run(*words, shell=">/dev/full")
    assert code == 2 and "the disk is full" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}],
    ids=["stream", "system"],
)
def test_an_encoding_that_lacks_letters(raw: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    code, _, said = run("check", "Gehirn\N{LATIN SMALL LETTER U WITH DIAERESIS}", cwd=tmp_path, **environment)
    assert code == 2 and "there is no dataset" in said
    code, _, _ = run(
        "check", str(raw), "--workspace", "W\N{LATIN SMALL LETTER U WITH DIAERESIS}", cwd=tmp_path, **environment
    )
    assert code == 0


@pytest.mark.slow
def test_a_folder_that_is_gone_a_home_that_is_unset(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    words = f"cd {tmp_path}/gone && rmdir ../gone && " + '"$@"'
    done = subprocess.run(["bash", "-c", words, "bash", *START, "demo"], capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "current folder does not exist any more" in done.stderr
    without = {name: value for name, value in os.environ.items() if name != "HOME"}
    for name in ("~/x", "~nobody-is-called-so/x"):
        done = subprocess.run([*START, "check", name], env=without, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 2 and "there is no dataset" in done.stderr and "Traceback" not in done.stderr


WRITING = [
    ("plan_and_preprocess", "RAW", "--workspace", "BAD"),
    ("fingerprint", "RAW", "--workspace", "BAD"),
    ("plan", "RAW", "--workspace", "BAD"),
    ("train", "RAW", "0", "--workspace", "BAD"),
    ("demo", "BAD"),
    ("convert", "msd", "RAW", "BAD"),
    ("evaluate", "RAW/labelsTr", "RAW/labelsTr", "-o", "BAD"),
    ("predict", "-i", "RAW/imagesTs", "-o", "BAD", "-m", "RAW"),
    ("export", "RAW", "-o", "BAD/model.zip"),
    ("install", "RAW/model.zip", "--into", "BAD"),
    ("import", "nnunet", "RAW", "--out", "BAD/model.zip"),
]


@pytest.mark.parametrize("words", WRITING, ids=lambda words: words[0])
def test_a_file_where_a_folder_is_needed(
    words: tuple[str, ...], raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    for bad in ("file", "file/deeper"):
        given = [word.replace("RAW", str(raw)).replace("BAD", str(tmp_path / bad)) for word in words]
        assert main(given) == 2
        said = capsys.readouterr().err
        assert str(tmp_path / "file") in said and len(said) < 2000
    assert (tmp_path / "file").read_text() == "mine" and [path.name for path in tmp_path.iterdir()] == ["file"]


def as_nobody(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Skips where one cannot become another user, or that one cannot run Python."""
    there = os.environ | {"HOME": "/", "PYTHONDONTWRITEBYTECODE": "1"}
    python = [*NOBODY, sys.executable, "-c", "import autoseg.cli"]
    try:
        if subprocess.run(python, env=there, cwd=root, capture_output=True).returncode:
            pytest.skip("another user cannot run this Python")
    except OSError:
        pytest.skip("there is no setpriv")
    return subprocess.run([*NOBODY, *START, *words], env=there, cwd=root, capture_output=True, text=True)


@pytest.mark.slow
def test_somebody_elses_workspace_can_be_looked_at_but_not_written_to(raw: Path, tmp_path: Path) -> None:
    workspace = raw.parent / "theirs"
    assert main(["plan_and_preprocess", str(raw), "--planner", "tiny", "-c", "2d", "--workspace", str(workspace)]) == 0
    run_ = workspace / NAME / "runs" / "2d" / "fold_0"
    run_.mkdir(parents=True)
    (run_ / ".lock").touch()
    for path in (raw.parent, *raw.parent.parents):
        path.chmod(path.stat().st_mode | 0o555)
    for word, code in (("status", 0), ("check", 0), ("plan", 2), ("preprocess", 2), ("fingerprint", 2)):
        words = [word, *([NAME] if word != "status" else []), "--workspace", str(workspace)]
        done = as_nobody(raw.parent, *words)
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), (word, done.stderr)
        if code:
            assert "may not read or write" in done.stderr and str(workspace) in done.stderr


LOST = """
import os, signal, time, weakref
from autoseg.cli import _asked_to_end
class Thing: pass
with _asked_to_end() as asked:
    try:
        thing = Thing()
        reference = weakref.ref(thing, lambda _: [os.kill(os.getpid(), signal.SIGTERM), list(range(9))])
        del thing
        time.sleep(20)
    except KeyboardInterrupt:
        print("heard", *map(int, asked))
"""


def test_a_signal_that_comes_while_a_reference_dies_is_heard() -> None:
    """Python prints and forgets what is raised there."""
    done = subprocess.run([sys.executable, "-c", LOST], capture_output=True, text=True, timeout=15)
    assert (done.stdout, done.stderr) == ("heard 15\n", "")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_signal_ends_a_command_without_a_traceback(number: int, code: int, raw: Path, tmp_path: Path) -> None:
    words = [*START, "demo", str(tmp_path / "demo")]
    process = subprocess.Popen(
        words,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # whoever runs the tests may ignore it (nohup)
    )
    try:
        while not list((tmp_path / "demo" / NAME).glob("imagesTr/*.nii.gz")):
            time.sleep(0.02)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, "Traceback" in said) == (code, False)
    assert "run the same command again" in said
    assert not list(tmp_path.rglob(".writing-*"))


def test_nohup_is_respected(tmp_path: Path) -> None:
    ignored = "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN);"
    look = "import os; from autoseg.cli import _asked_to_end\nwith _asked_to_end(): os.kill(os.getpid(), signal.SIGHUP)"
    assert subprocess.run([sys.executable, "-c", ignored + look], capture_output=True).returncode == 0


def test_what_is_not_from_outside_is_a_defect() -> None:
    assert explained(ValueError("x")) is None and explained(RuntimeError("x")) is None
    assert explained(MemoryError()) and explained(RecursionError()) and explained(OSError("odd")) == "odd"
    assert explained(RuntimeError("can't start new thread"))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
    ],
)
def test_too_little_memory_of_a_device_is_known_in_all_its_forms(error: RuntimeError) -> None:
    assert out_of_memory(error) and "autoseg plan" in str(explained(error))
    assert not out_of_memory(RuntimeError("shapes differ")) and out_of_memory(MemoryError())


def test_what_is_printed_is_short_and_steers_no_terminal() -> None:
    assert printable("tumour\N{RIGHT-TO-LEFT OVERRIDE}\x1b[2J") == "tumour\\u202e\\x1b[2J"
    assert len(printable("x" * 10**6)) < 500
    lines = printable("\n".join(f"case {n}" for n in range(1000)), 200)
    assert len(lines) < 250 and lines.startswith("case 0\n") and lines.endswith("more lines")
