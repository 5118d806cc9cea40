"""Commands of the pages as they stand there, on fewer cases and for seconds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from dicom_files import write_series
from example_datasets import EXAMPLES, make
from pages import DOCS, README, blocks, lines_of

from autoseg.cli import main
from autoseg.core.geometry import Geometry
from autoseg.parts.readers import write_channels, write_labels
from autoseg.pipeline.demo import NAME, make_dataset

HEADING = "A walk of five minutes"
BESIDE = {"train": ["--time", "3s"]}


def walk() -> list[list[str]]:
    """The commands of the section, without their first word."""
    commands = [words for block in blocks(README, "bash", under=HEADING) for words in lines_of(block)]
    return [words[1:] for words in commands if words[0] == "autoseg"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, in which the commands run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTOSEG_WORKSPACE", raising=False)
    return tmp_path


@pytest.mark.slow
def test_every_command_of_the_walk_ends_well(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_dataset(Path("autoseg_demo", NAME), cases=5, tests=1)
    commands = walk()
    assert [words[0] for words in commands] == [
        "demo", "check", "plan_and_preprocess", "train", "predict", "evaluate", "report"
    ]  # fmt: skip
    for words in commands[1:]:  # test_demo.py runs the first one
        assert main([*words, *BESIDE.get(words[0], [])]) == 0, " ".join(words)
    assert "mean over labels" in capsys.readouterr().out
    assert [path.name for path in Path("results").glob("*.nii.gz")] == ["demo_005.nii.gz"]
    folder = Path("autoseg_workspace", NAME)
    assert json.loads((folder / "plan.json").read_text(encoding="utf-8"))["planner"] == "tiny"
    assert (folder / "report.html").stat().st_size > 10_000


def written(page: str, *starts: str) -> list[list[str]]:
    """The commands of a page that begin so, as they stand there, without their first word."""
    (path,) = (path for path in DOCS if path.name == page)
    lines = [words[1:] for block in blocks(path, "bash") for words in lines_of(block) if words[0] == "autoseg"]
    found = [words for words in lines if any(" ".join(words).startswith(start) for start in starts)]
    missing = [start for start in starts if not any(" ".join(words).startswith(start) for words in found)]
    assert not missing, f"{page} has no command that begins with {missing}"
    return found


def run(commands: Sequence[Sequence[str]]) -> None:
    for words in commands:
        assert main([*words]) == 0, " ".join(words)


@pytest.mark.slow
def test_commands_about_a_trained_dataset_end_well(here: Path) -> None:
    """Check, plan, train, predict, score, look at, pack, install."""
    make_dataset(Path("my_data"), cases=5, tests=1)
    shutil.copytree("my_data/imagesTs", "new_scans")
    shutil.copytree("my_data/labelsTs", "reference_labels")
    run(written("your-data.md", "check"))
    run([["plan_and_preprocess", "my_data", "--planner", "tiny", "-c", "3d_fullres", "--no-report"]])
    run(written("training.md", "plan my_data --explain"))
    short = ["--epochs", "1", "--set", "training.iterations_per_epoch=2", "--no-report"]
    run([["train", "my_data", "0", "-c", "3d_fullres", *short], *written("training.md", "status")[:1]])
    shutil.copy("new_scans/demo_005_0000.nii.gz", "scan_0000.nii.gz")
    shutil.copy("new_scans/demo_005_0001.nii.gz", "scan_0001.nii.gz")
    for words in written("prediction.md", "predict -i new_scans -o results", "predict -i scan_0000.nii.gz"):
        if "lungs.zip" not in words:
            predict(words[: words.index("-f")] if "-f" in words else words)  # one fold was trained
    run([*written("models.md", "export", "info"), *written("command-line.md", "doctor", "completion")])
    run(written("models.md", "install"))
    for words in (*written("models.md", "predict -m"), *written("scores.md", "predict -i")):
        predict(words)
    run([*written("scores.md", "evaluate"), *written("reports.md", "report"), *written("trust.md", "report")])
    for made in ("results/volumes.csv", "results/report.html", "scores/scores.csv", "fold0.html", "lungs.zip"):
        assert Path(made).is_file(), made


def predict(words: Sequence[str]) -> None:
    """Into a new folder, since models do not share one."""
    shutil.rmtree("results", ignore_errors=True)
    run([words])
    assert [path.name for path in Path("results").glob("*.nii.gz")], " ".join(words)


@pytest.mark.slow
def test_commands_about_pictures_and_surfaces_end_well(here: Path) -> None:
    geometry, random = Geometry.plain((8, 130, 20), (3.0, 1.0, 1.0)), np.random.default_rng(0)
    labels = np.zeros(geometry.shape, np.uint8)
    labels[2:6, 100:125, 4:12] = 1
    labels[3:5, 20:40, 8:16] = 2
    for name in ("images/p7_0000", "t1", "flair", "ct"):
        image = 100 * labels + random.normal(0, 5, labels.shape)
        write_channels(image[None].astype(np.float32), geometry, here / f"{name}.nii.gz")
    for name in ("results/p7", "out", "manual", "liver"):
        write_labels(labels, geometry, here / f"{name}.nii.gz")
    described = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1, "spleen": 2}}
    Path("results/dataset.json").write_text(json.dumps(described | {"file_ending": ".nii.gz"}))
    run(written("plot-and-mesh.md", "plot", "mesh"))
    pictures, surfaces = (
        ("p7.png", "p7.svg", "liver.png", "liver_all.png"),
        ("p7_liver.stl", "p7_spleen.stl", "liver.ply"),
    )
    assert all(Path(name).stat().st_size > 500 for name in (*pictures, *surfaces))


def decathlon() -> None:
    make(EXAMPLES / "decathlon.json", Path("Task01_BrainTumour"))


def archive() -> None:
    """A patient with a T1 and its label map, and one whose T1 was taken twice."""
    for patient, series in (("anna", 1), ("bo", 2)):
        for number in range(series):
            tags = {"t0020_000d": f"1.{len(patient)}", "t0020_000e": f"1.{len(patient)}.{number}", "t0008_103e": "T1"}
            write_series(Path("archive", patient), np.full((3, 6, 5), 9), np.eye(3), **tags, t0020_0011=f"{7 + number}")


@pytest.mark.parametrize(
    ("prepare", "start", "target"),
    [
        (decathlon, "convert msd", "Dataset001_BrainTumour"),
        (archive, "convert dicom archive Dataset003_Liver --channel T1=*t1* --series", "Dataset003_Liver"),
        (archive, "convert dicom archive Dataset003_Liver --channel T1=*t1* --newest", "Dataset003_Liver"),
    ],
)
def test_conversions_end_well(here: Path, prepare: Callable[[], None], start: str, target: str) -> None:
    prepare()
    run(written("your-data.md", start))
    assert [*(here / target).glob("images*/*.nii.gz")]
