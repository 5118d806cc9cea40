"""An output of one's own is a file: named with --also, it sees all slabs, is written and remembered like the others."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from small_models import EXCLUSIVE, GEOMETRY, bundle, image, plan_of

import autoseg
from autoseg.cli import main
from autoseg.core.geometry import Geometry
from autoseg.errors import UnknownPartError, UsageError
from autoseg.inference.model import Model
from autoseg.inference.outputs import Output, chosen
from autoseg.parts.readers import write_channels
from autoseg.plan import Plan
from autoseg.settings import RunSettings

VOLUMES = '''
"""Expected volumes: the sum of probabilities, and the corrected label map's voxels, with the sources of the image."""

import json
from contextlib import contextmanager
from dataclasses import dataclass

from autoseg.core.files import atomic_file
from autoseg.inference.outputs import Output


@dataclass(frozen=True)
class Spec(Output):
    unit: str = "voxels"

    def files(self, key, task):
        return (f"volumes/{key}.json",)

    @contextmanager
    def open(self, context):
        yield Sums(context.task.labels)

    def write(self, result, prediction):
        (path,) = prediction.context.paths(self)
        label = int((prediction.labels == 7).sum())
        source = [str(path) for path in prediction.context.case.image_files]
        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps({"expected": result, "labelled": label, "of": source}))


class Sums:
    def __init__(self, labels):
        self.labels, self.total = labels, 0.0

    def take(self, rows, slab):
        for piece in slab.pieces():
            self.total += float(self.labels.probabilities(piece)[:, 1].sum())

    def close(self):
        return self.total
'''


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "python" / "ourlab").mkdir(parents=True)
    (tmp_path / "python" / "ourlab" / "__init__.py").touch()
    (tmp_path / "python" / "ourlab" / "volumes.py").write_text(VOLUMES)
    (tmp_path / "python" / "ourlab" / "none.py").write_text("class Spec:\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path / "python"))
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "ourlab"]:
        del sys.modules[name]


@pytest.fixture
def model(small_plan: Plan, lab: Path) -> Path:
    return bundle(lab / "model.zip", plan_of(small_plan, EXCLUSIVE), {"3d_fullres": 0.5, "2d": 0.5})


def predict(lab: Path, *more: str) -> int:
    if not (lab / "in").exists():
        for number in range(2):
            scan = image(number)
            write_channels(scan.array, scan.geometry, lab / "in" / f"case{number}_0000.nii.gz")
    words = ["predict", "-m", str(lab / "model.zip"), "-i", str(lab / "in"), "-o", str(lab / "out")]
    fast = ["--device", "cpu", "--precision", "float32", "--threads", "1", "--tta", "none"]
    return main([*words, *fast, *more, "--workspace", str(lab / "workspace")])


@pytest.mark.slow
def test_it_is_written_for_every_case_kept_and_made_again(model: Path, lab: Path) -> None:
    own = ("--also", "ourlab.volumes", "--also", "uncertainty", "--trust", "ourlab")
    assert predict(lab, *own, "--probabilities", "float32") == 0
    assert sorted(path.name for path in (lab / "out").iterdir() if path.name != ".predict.lock") == [
        *("case0.nii.gz", "case1.nii.gz", "dataset.json", "predicted.jsonl", "predictions.json", "probabilities"),
        *("quality.csv", "report.html", "uncertainty", "volumes"),
    ]
    for number in range(2):
        path = lab / "out" / "volumes" / f"case{number}.json"
        found = json.loads(path.read_text())
        labels = sitk.GetArrayFromImage(sitk.ReadImage(lab / "out" / f"case{number}.nii.gz"))
        chances = sitk.GetArrayFromImage(sitk.ReadImage(lab / "out" / "probabilities" / f"case{number}.nii.gz"))
        assert found["labelled"] == (labels == 7).sum() > 0
        assert found["expected"] == pytest.approx(chances[1].sum(), rel=1e-4)
        assert found["of"] == [str(lab / "in" / f"case{number}_0000.nii.gz")]
    before = (lab / "out" / "volumes" / "case1.json").stat().st_mtime_ns
    (lab / "out" / "volumes" / "case0.json").write_text("{}")
    assert predict(lab, *own) == 2  # somebody edited it
    assert predict(lab, *own, "--continue") == 0
    assert json.loads((lab / "out" / "volumes" / "case0.json").read_text())["labelled"] > 0
    assert (lab / "out" / "volumes" / "case1.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--also", "ourlab.volumes"), "pass --trust ourlab"),
        (
            ("--also", "certainty"),
            "choose one of agreement, label_map, probabilities, stored_probabilities, uncertainty",
        ),
        (("--also", "ourlab.volume", "--trust", "ourlab"), "there is no module 'ourlab.volume'"),
        (("--also", "ourlab.none", "--trust", "ourlab"), "no output"),
        (("--also", "ourlab", "--trust", "ourlab"), "choose one of"),
    ],
)
def test_what_is_no_output_is_refused_before_anything_is_read(
    lab: Path, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (lab / "in").mkdir()
    assert predict(lab, *words) == 2  # there is no model
    assert said in capsys.readouterr().err
    assert not (lab / "out").exists()


def test_in_python_it_is_a_name_or_an_object(model: Path, lab: Path) -> None:
    from ourlab.volumes import Spec  # type: ignore[import-not-found]

    read = Model.read(model, settings=RunSettings(device="cpu", precision="float32", threads=1))
    found = read.segment(image(), outputs=[Spec()])
    assert 0 < found.results["ourlab.volumes"] < np.prod(GEOMETRY.shape)
    with pytest.raises(UnknownPartError, match="--trust ourlab"):
        read.segment(image(), outputs=["ourlab.volumes"])
    assert isinstance(chosen(["ourlab.volumes"], trusted=("ourlab",))["ourlab.volumes"], Output)
    with pytest.raises(UsageError, match="no output"):
        chosen([Geometry.plain((1, 1, 1), (1.0, 1.0, 1.0))])  # type: ignore[list-item]


@pytest.mark.slow
def test_files_are_predicted_with_outputs_from_python_too(model: Path, lab: Path) -> None:
    scan = image()
    write_channels(scan.array, scan.geometry, lab / "scan_0000.nii.gz")
    settings = RunSettings(device="cpu", precision="float32", threads=1)
    asked = {"outputs": ["uncertainty"], "probabilities": "float32", "settings": settings}
    report = autoseg.predict(model, lab / "scan_0000.nii.gz", lab / "out", **asked)
    assert not report.failed
    in_memory = Model.read(model, settings=settings).predict(lab / "scan_0000.nii.gz", outputs=["uncertainty"])
    found = sitk.GetArrayFromImage(sitk.ReadImage(lab / "out" / "uncertainty" / "scan.nii.gz"))
    np.testing.assert_allclose(found, in_memory.results["uncertainty"].values, atol=1e-6)
    assert (lab / "out" / "probabilities" / "scan.nii.gz").exists()
    with pytest.raises(UnknownPartError, match="choose one of"):
        autoseg.predict("no model at all", lab, lab / "out", outputs=["certainty"])
