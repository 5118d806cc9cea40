"""Every flag of every command with values that nobody can mean: a short message and exit code 2, never a traceback."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoseg.cli import main, parser
from autoseg.pipeline.demo import NAME, make_dataset

LONG = "x" * 255_000
WORDS = (
    "",
    " ",
    LONG,
    "../x",
    "../../x",
    "/dev/null/x",
    "a\nb\x1b[2J",
    "\ud800",
    "*",
    "$(id)",
    "٣",
    "nan",
    "-x",
    "a" * 240,
)
NUMBERS = ("", "x", "nan", "-1", "-inf", "1" * 400, "1e999", "0x1", "1_000", "٣", "1.5.5", LONG)
WHOLE = (*NUMBERS, "1.5", "inf", str(10**30))
TIMES = (*NUMBERS, "0", "0s", "-5m", "inf", "1e5", "9" * 12 + "h")
SIZES = (*NUMBERS, "0GB", "4", "9" * 400 + "GB", "0.0000001KB", "٣GB", "1e3GB")
SPACINGS = ("", "1,1", "1,1,1,1", "nan,1,1", "inf,1,1", "0,1,1", "-1,1,1", "1e-9,1,1", "1e-300,1,1", "a,b,c", LONG)
NAMES = ("", " ", LONG, "../x", "../../x", "a/b", "*", "**", "..", ".", "a\x1b", "CON", "a" * 240)
FOLDS = ("-1", "0x1", "٣", "1.5", "01", "+1", "../x", "", "fold_0", "99", str(10**30), LONG, "all all", "0 0", "cv")
PARTS = ("", "nope", "../x", "..x", ".x", "os.path", "a..b", "a b.c", "_unet", "__init__", LONG, "a\x1b.b")
FILES = ("", "/nowhere/x", "/dev/null", "/dev/null/x", LONG, "\0")
PATTERNS = ("(", "[", "*", "(?P<a", "a{99999999999}", "nothing", "(" * 5000, LONG)
CHANGES = ("", "=", "x", "x=1", "batch_size", "batch_size=", "batch_size=x", "batch_size=nan",
           "batch_size=" + "9" * 5000,
           "batch_size=1e999", "batch_size=" + "[" * 5000, "network=os.path", "network=../x", "network=", "a.b.c.d=1",
           "batch_size=\ud800", "patch_size=1,2,3,4,5", "default=../x", "=" * 1000, LONG + "=1",
           "batch_size=" + LONG)  # fmt: skip
OF_CHANNELS = ("", "=", "T1", "T1=", "=n4", "nope=n4", "T1=nope", "T1=os.path", "T1=../x", "9=n4", LONG, LONG + "=n4",
               "T1=a\x1b", "T1=" + LONG)  # fmt: skip
LEVELS = ("", "x", "middle:", "middle:sum", "MIDDLE", "input:", LONG, ",", "input,", "input,x", "input,input",
          "middle,middle:concatenation", "input,unpaired", "input," + LONG)  # fmt: skip
COLUMNS = ("", "x.csv", "/dev/null", "/nowhere/x.csv:y", LONG, "x.csv:" + LONG)

VALUES: dict[str, tuple[str, ...]] = {
    "--device": ("", "x", "cuda:", "cuda:-1", "cuda:1234", "meta", "cpu:3", "cuda:" + "9" * 30, LONG),
    "--devices": (",", "cpu,nope", "cpu,,cpu", "cpu,cuda:99", LONG),
    "--threads": (*WHOLE, "0", "1000000"),
    "--precision": ("", "x", "float8", LONG),
    "--seed": WHOLE,
    "--compile": ("", "x", LONG),
    "--memory": SIZES,
    "--time": TIMES,
    "--fold": FOLDS,
    "--take": NAMES,
    "--watch": (*NUMBERS[:5], "0", "0.5", "inf", "1e6", "1" * 400, LONG),
    "--checkpoint-every": TIMES,
    "--epochs": (*WHOLE, "0"),
    "--patience": WHOLE,
    "--init": NAMES,
    "--encoder-rate": (*NUMBERS, "-0.1", "1.01", "inf"),
    "--mc-dropout": (*NUMBERS, "-1", "1.5", "1000000"),
    "--step": (*NUMBERS, "0", "1.01", "inf", "1e-9", "-0.5"),
    "--slices": (*WHOLE, "0", "2", str(10**9 + 1)),
    "--tolerance": (*NUMBERS[:5], "inf", "1e999"),
    "--metrics": (*PARTS, ",", "lesions,", "lesions,,roc", "lesions,nope", "roc"),
    "--lesion-dilation": (*NUMBERS[:5], "inf", "1e999", "1001"),
    "--lesion-minimum": (*NUMBERS[:5], "inf", "1e999"),
    "--spacing": SPACINGS,
    "--mirror": ("", "w", "zz", "x,y,z,w", "0", LONG),
    "--planner": PARTS,
    "--network": PARTS,
    "--align": ("", "x", "RIGID", LONG),
    "--reference": ("", "nope", "2", "-1", "9" * 5000, LONG),
    "--fusion": LEVELS,
    "--groups": ("", " ", ",", ";", "T1,;T2", "T1;T2", LONG, "a\x1b;b"),
    "--compare": PARTS,
    "--require": ("", " ", ",", "nope", "a\x1b", "CT,", LONG),
    "--target": ("", "x", "memory=1GB", "memory=x,bandwidth=1GB/s", "memory=" + "9" * 400 + "GB,bandwidth=1GB/s", LONG),
    "--from": FILES,
    "--from-fingerprint": FILES,
    "--dataset-json": FILES,
    "--group": PATTERNS,
    "--group-file": COLUMNS,
    "--modality-file": COLUMNS,
    "--modality": ("", " ", "nope", "9", "-1", "a\x1b", LONG),
    "--stratify": COLUMNS,
    "--set": CHANGES,
    "--bias-correction": ("", ",", "nope", "T1,,T2", "T1,nope", "all,T1", "9", "-1", "٣", "a\x1b", LONG),
    "--filter": OF_CHANNELS,
    "--normalizer": OF_CHANNELS,
    "--configuration": (*NAMES, "4d"),
    "--folds": FOLDS,
    "--only": FOLDS,
    "--format": ("", "x", LONG),
    "--tta": ("", "x", LONG),
    "--probabilities": ("", "x", "float64", LONG),
    "--also": ("", "x", "os.path", "../label_map", LONG),
    "--input": FILES,
    "--dataset": WORDS,
    "--model": (*WORDS, "/dev/null"),
    "--labels": FILES,
    "--channel": ("", "x", "=", "a=", "=b", "a=b a=c", LONG),
    "--label": ("/etc/*", "{x}", "{case", LONG),
    "--keep": ("", "a", "a=", "a=x", "a=٣", "a=" + "9" * 30, "a=1,", "=1", LONG),
    "--checkpoint": NAMES,
    "--sha256": ("", "x", "0" * 63, "g" * 64, LONG),
    "--trust": ("", ".", "..", "a.", ".a", "a b", "a/b", "../x", "1a", LONG),
    "--workspace": ("", " ", "/dev/null", "/dev/null/x"),
    "--output": ("", "/dev/null/x", "/proc/x/y", "\0"),
    "--into": ("", "/dev/null/x", "/proc/x/y"),
    "--out": ("", "/dev/null/x", "/proc/x/y"),
    "--table": ("", "/dev/null/x", "/proc/x/y"),
    "--window": ("", "1", "1,2,3", "a,b", "5,1", "1,1", "nan,1", "0,inf", "1e999,2", LONG),
    "--opacity": (*NUMBERS, "1.1", "inf"),
    "--slice": (*WHOLE, "0"),
    "--plane": ("", "x", "AXIAL", "axial,coronal", LONG),
    "--series": ("", " ", "nope", "9" * 5000, "a\x1b", LONG),
    "--channels": ("", ",", "T1,,T2", "T1,T1", "a\x1b", "T1", LONG),
    "--method": PARTS,
    "image": FILES,
    "label_map": FILES,
    "case": (*WORDS, "/dev/null"),
    "dataset": WORDS,
    "shell": ("", "sh", LONG),
    "name": PARTS,
    "family": ("", "hats", "../x", "_helpers", "a\x1b", LONG),
    "fold": ("-1", "0x1", "٣", "1.5", "01", "", "99", "../x", str(10**30), "9" * 5000, LONG),
    "kind": (*PARTS, "x.json", "/dev/null.json"),
    "source": FILES,
    "target": ("", "/dev/null/x", "/proc/x/y"),
    "program": ("", "monai", LONG),
    "model": (*WORDS, "/dev/null"),
    "reference": FILES,
    "predictions": FILES,
    "folder": ("", "/dev/null", "/dev/null/x"),
}
"""A flag's or argument's name to values that are refused wherever it occurs."""
FINE = {"--licence", "--citation", "source of install"}  # any text
NOT_IN_A_WORKSPACE = ("convert", "evaluate", "demo", "completion", "parts", "plot", "mesh")
FINE |= {f"--workspace of {command}" for command in NOT_IN_A_WORKSPACE}
GIVEN = {
    "dataset": NAME, "fold": "0", "kind": "msd", "source": "raw", "target": "new", "program": "nnunet", "model": NAME,
    "reference": "raw", "predictions": "raw", "folder": "demo", "shell": "bash", "name": "threshold",
    "family": "networks",
    "image": "raw/demo_000.nii.gz", "case": "raw/demo_000.nii.gz", "label_map": "raw/demo_000.nii.gz",
}  # fmt: skip
REQUIRED = {
    "predict": ["-i", "raw", "-o", "out"],
    "plot": ["-o", "out.png"],
    "mesh": ["-o", "out.stl"],
    "explain": ["-o", "out"],
}


STEPS = next(action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)).choices


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a dataset, ``raw``'s images and a workspace in which it is prepared."""
    root = tmp_path_factory.mktemp("planned")
    raw = make_dataset(root / NAME, cases=3, tests=0)
    shutil.copytree(raw / "labelsTr", root / "raw")
    words = ["plan_and_preprocess", str(raw), "--planner", "tiny", "-c", "2d"]
    assert main([*words, "--workspace", str(root / "autoseg_workspace")]) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        yield root


def actions() -> Iterator[tuple[str, argparse.Action]]:
    for command, step in STEPS.items():
        for action in step._actions:
            takes_value = action.nargs != 0 and not isinstance(action, argparse._HelpAction)
            if takes_value:
                yield command, action


def name_of(action: argparse.Action) -> str:
    return action.option_strings[-1] if action.option_strings else action.dest


CASES = [(command, name_of(action)) for command, action in actions()]


def test_every_flag_of_every_command_has_values_here() -> None:
    assert {name for _, name in CASES} <= set(VALUES) | FINE


def contents(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def words_of(command: str, name: str, value: str) -> list[str]:
    step = STEPS[command]
    positionals = [action for action in step._actions if not action.option_strings]
    given = {action.dest: GIVEN[action.dest] for action in positionals}
    if command == "plan" and name in ("--from-fingerprint", "--dataset-json"):
        given.pop("dataset")
    if command == "train" and name in ("--folds", "--devices", "--only"):
        given["fold"] = "cv"
    more = list(REQUIRED.get(command, []))
    if name in ("--input", "--output") and command in REQUIRED:
        at = more.index("-i" if name == "--input" else "-o")
        del more[at : at + 2]
    if name == "--dataset-json":
        more += ["--from-fingerprint", "autoseg_workspace/" + NAME + "/fingerprint.json"]
    if name in ("--set", "--configuration") and command in ("plan", "plan_and_preprocess"):  # without measuring
        more += ["--planner", "tiny"]
    if name == "--set" and "os.path" in value:
        more += ["--trust", "os"]
    values = [value, "tiny"] if name == "--compare" else value.split(" ") if value in ("0 0", "all all") else [value]
    if value == "a=b a=c":
        more += ["--channel=a=b", "--channel=a=c"]
        values = ["a=b"]
    flag = [name, *values] if len(values) > 1 else [f"{name}={values[0]}"]
    if not name.startswith("--"):
        given[name], flag = value, []
    return [command, *more, *flag, "--", *given.values()]


@pytest.mark.parametrize(("command", "name"), CASES, ids=" ".join)
def test_a_value_that_nobody_can_mean_is_a_short_message(
    command: str, name: str, planned: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if name in FINE or f"{name} of {command}" in FINE:
        return
    before = contents(planned)
    for value in VALUES[name]:
        try:
            code: object = main(words_of(command, name, value))
        except SystemExit as stopped:  # argparse
            code = stopped.code
        said = capfd.readouterr().err
        assert code == 2, (name, value[:100], said[-500:])
        assert 10 < len(said.encode(errors="replace")) < 2000, (name, value[:100], len(said))
        assert "Traceback" not in said and "\x1b" not in said
        assert max(map(len, said.splitlines())) < 1000
    assert contents(planned).items() >= before.items()


@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_workspace_variable_is_told(
    value: str, planned: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUTOSEG_WORKSPACE", value)
    assert main(["status"]) == 2
    assert "AUTOSEG_WORKSPACE) is empty" in capsys.readouterr().err


def test_folds_may_be_named_one_by_one() -> None:
    both = parser().parse_args(["train", "D", "cv", "-f", "0", "-f", "1"])
    assert both.folds == parser().parse_args(["train", "D", "cv", "-f", "0", "1"]).folds == ["0", "1"]


def test_a_dataset_of_one_case_has_no_folds_to_train(
    planned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = make_dataset(tmp_path / "Dataset001_One", cases=1, tests=0)
    at = ["--workspace", str(tmp_path / "workspace")]
    assert main(["plan_and_preprocess", str(raw), "--planner", "tiny", "-c", "2d", *at]) == 0
    for fold, said in (("cv", "has one case and therefore no folds"), ("0", "fold `all`")):
        assert main(["train", "Dataset001_One", fold, *at]) == 2
        assert said in capsys.readouterr().err


def test_a_dataset_that_was_moved_is_told_before_training(
    planned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(planned / "autoseg_workspace", tmp_path / "workspace")
    described = tmp_path / "workspace" / NAME / "dataset.json"
    record = json.loads(described.read_text())
    del record["checksum"]  # an edit that is meant
    moved = json.dumps(record).replace(str(planned / NAME), str(tmp_path / "gone"))
    described.write_text(moved)
    words = ["train", NAME, "0", "-c", "2d", "--device", "cpu", "--workspace", str(tmp_path / "workspace")]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "is not there any more" in said and str(tmp_path / "gone") in said
    assert not (tmp_path / "workspace" / NAME / "runs").exists()
