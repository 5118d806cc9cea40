"""Flags become arguments; times are read as people write them; what is said suits people or programs."""

from __future__ import annotations

import argparse
import importlib
import json
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autoseg import commands
from autoseg.cli import main, parser
from autoseg.commands._flags import bytes_, seconds


@pytest.mark.parametrize(
    ("text", "expected"), [("90s", 90), ("20m", 1200), ("12h", 43200), ("1h30m", 5400), ("5", 300), ("0.5h", 1800)]
)
def test_times_are_read_as_people_write_them(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "0s", "-5m", "m", "5 min"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        seconds(text)


def test_an_amount_of_memory_that_is_none_is_refused_with_an_example() -> None:
    assert bytes_("4GB") == 4e9
    with pytest.raises(argparse.ArgumentTypeError, match="8GB"):
        bytes_("4")


def test_every_command_has_its_function_and_help() -> None:
    steps = next(action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    assert {"plan_and_preprocess", "train", "predict"} <= set(steps.choices)
    for step in steps.choices.values():
        assert callable(step.get_default("run"))
        assert step.description


def test_every_file_of_a_command_is_listed() -> None:
    folder = Path(commands.__file__).parent
    assert sorted(commands.NAMES) == sorted(path.stem for path in folder.glob("[!_]*.py"))


def test_the_module_and_the_command_are_the_same() -> None:
    said = subprocess.run([sys.executable, "-m", "autoseg", "--help"], capture_output=True, text=True, check=True)
    assert "plan_and_preprocess" in said.stdout


def test_the_workspace_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOSEG_WORKSPACE", "somewhere")
    assert str(parser().parse_args(["train", "D", "0"]).workspace) == "somewhere"


def modules() -> dict[str, Any]:
    return {name.rstrip("_"): importlib.import_module(f"autoseg.commands.{name}") for name in commands.NAMES}


EXAMPLES = [(name, line) for name, module in modules().items() for line in module.EXAMPLES]


@pytest.mark.parametrize(("name", "line"), EXAMPLES)
def test_every_example_can_be_typed(name: str, line: str) -> None:
    words = shlex.split(line.partition(" > ")[0])
    assert words[:2] == ["autoseg", name]
    assert parser().parse_args(words[1:]).run is modules()[name].run


def test_every_help_ends_with_its_examples_each_on_a_line_of_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for name, module in modules().items():
        assert 1 <= len(module.EXAMPLES) <= 4
        with pytest.raises(SystemExit):
            main([name, "--help"])
        said = capsys.readouterr().out
        assert said.rstrip().endswith("examples:\n  " + "\n  ".join(module.EXAMPLES))
        assert max(len(line) + 2 for line in module.EXAMPLES) <= 80


def lines(text: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in text.splitlines()]
    assert all(line["kind"] in ("progress", "message", "result", "error") for line in found)
    return found


def test_for_programs_the_last_line_is_the_result_or_the_error_with_its_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ["--workspace", str(tmp_path), "--json"]
    assert main(["status", *at]) == 0
    said = capsys.readouterr()
    assert lines(said.out) == [{"kind": "result", "command": "status", "trainings": [], "exit_code": 0}]
    assert main(["status", "nowhere", *at]) == 2
    said = capsys.readouterr()
    (error,) = lines(said.out)
    assert (error["kind"], error["exit_code"], said.err) == ("error", 2, "")
    assert error["text"].startswith("autoseg status: there is no dataset 'nowhere'") and str(tmp_path) in error["text"]


def test_words_that_cannot_be_read_are_an_error_for_programs_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "D", "0", "--time", "soon", "--json"])
    said = capsys.readouterr()
    (error,) = lines(said.out)
    assert (error["kind"], error["exit_code"], said.err) == ("error", 2, "")
    assert "--time" in error["text"]


def test_a_defect_is_an_error_for_programs_and_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from autoseg.pipeline import status

    monkeypatch.setattr(status, "all_runs", lambda *given: {}[1])
    with pytest.raises(KeyError):
        main(["status", "--json", "--workspace", str(tmp_path)])
    (error,) = lines(capsys.readouterr().out)
    assert error == {"kind": "error", "text": "autoseg status: KeyError: 1", "exit_code": 1}


def test_what_a_library_prints_is_not_among_the_lines_for_programs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from autoseg.pipeline import status

    def chatty(*given: object) -> list[object]:
        sys.stdout.write("hello\n")
        return []

    monkeypatch.setattr(status, "all_runs", chatty)
    assert main(["status", "--json", "--workspace", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert len(lines(said.out)) == 1 and said.err == "hello\n"


@pytest.fixture(scope="module")
def script() -> str:
    pytest.importorskip("shtab")
    return subprocess.run(
        [sys.executable, "-m", "autoseg", "completion", "bash"], capture_output=True, text=True, check=True
    ).stdout


def completed(script: str, *words: str) -> set[str]:
    """What bash offers for the last of the words."""
    typed = shlex.join(["autoseg", *words])
    ask = (
        f"{script}\nCOMP_WORDS=({typed}); COMP_CWORD={len(words)}\n"
        "function=$(complete -p autoseg | sed 's/.*-F \\([^ ]*\\).*/\\1/'); $function autoseg "
        f"{shlex.quote(words[-1])} {shlex.quote(words[-2] if words[1:] else 'autoseg')}\n"
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True)
    return {line.strip() for line in done.stdout.splitlines()}


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_commands_flags_and_choices(script: str) -> None:
    assert completed(script, "pre") == {"predict", "preprocess"}
    assert {"--watch", "--workspace", "--quiet"} <= completed(script, "status", "--")
    assert completed(script, "predict", "--tta", "") >= {"auto", "none", "full"}


@pytest.mark.parametrize("shell", ["zsh", "tcsh"])
def test_other_shells_get_their_own_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab")
    assert main(["completion", shell]) == 0
    said = capsys.readouterr().out
    assert {"zsh": "#compdef autoseg", "tcsh": "complete autoseg"}[shell] in said and "plan_and_preprocess" in said


def test_without_shtab_a_sentence_says_how_to_install_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    assert "pip install 'autoseg[completion]'" in capsys.readouterr().err


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, "-m", "autoseg", "status", "--watch", "1", "--workspace", str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
def test_watching_shows_one_table_after_the_other_until_it_is_interrupted(watching: subprocess.Popen[str]) -> None:
    assert watching.stdout is not None
    looks = [watching.stdout.readline() for _ in range(4)]
    assert [look.startswith("no training has begun in") for look in looks] == [False, True, False, True]
    assert "\x1b" not in "".join(looks)
    watching.send_signal(signal.SIGINT)
    _, said = watching.communicate(timeout=60)
    assert (watching.returncode, said) == (0, "")


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
def test_watching_that_is_killed_says_so_with_its_exit_code(watching: subprocess.Popen[str]) -> None:
    assert watching.stdout is not None
    watching.stdout.readline()
    watching.send_signal(signal.SIGTERM)
    watching.communicate(timeout=60)
    assert watching.returncode == 143


@pytest.mark.parametrize(("rank", "told"), [("0", True), ("1", False)])
@pytest.mark.parametrize("more", [(), ("--json",)])
def test_of_several_processes_the_first_tells_the_result(
    rank: str, told: bool, more: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("RANK", rank)
    assert main(["parts", "schedules", *more]) == 0
    assert ("polynomial" in capsys.readouterr().out) == told
    assert main(["parts", "nope", *more]) == 2  # what is wrong is told by each
    said = capsys.readouterr()
    assert "nope" in said.out + said.err
