"""`autoseg baseline`: from files to scores, learned on training cases only, restartable; and a label map refined."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from example_datasets import EXAMPLES, make

import autoseg
from autoseg.cli import main
from autoseg.core.records import read_json, write_json
from autoseg.data.dataset import Dataset
from autoseg.data.folds import Fold, Folds
from autoseg.data.images import read_case
from autoseg.data.label_maps import read_label_map
from autoseg.data.layouts import read_dataset
from autoseg.errors import DatasetError, UsageError
from autoseg.evaluation.scores import Summary
from autoseg.pipeline.baseline import BaselineRecord, baseline
from autoseg.pipeline.baseline_view import View, block_means, coarsening
from autoseg.pipeline.evaluate import evaluate
from autoseg.reporting.sections import comparison
from autoseg.reporting.source import open_source
from autoseg.settings import RunSettings
from autoseg.workspace import DatasetFolder, Workspace

NAME, CASES = "Dataset901_Balls", 6
SETTINGS = RunSettings(device="cpu", threads=2)


def write_cases(folder: Path) -> Path:
    """A bright ball of value 7 towards the left, and as bright a one of value 3 towards the right; the second channel
    is noise. Every second file lies the other way round."""
    for number in range(CASES):
        random, shape = np.random.default_rng(number), (12, 24, 40)
        z, y, x = np.meshgrid(*map(np.arange, shape), indexing="ij")
        truth = np.zeros(shape, np.uint8)
        for value, middle in ((7, 11), (3, 29)):
            around = (1.5 * (z - 6)) ** 2 + (y - 12) ** 2 + (x - middle - random.integers(-1, 2)) ** 2
            truth[around < 6**2] = value
        ball = 100 + 200 * (truth > 0) + random.normal(0, 30, shape)
        for kind, array in (("images", ball), ("noise", random.normal(50, 9, shape)), ("labels", truth)):
            image = sitk.GetImageFromArray(array.astype(np.uint8 if kind == "labels" else np.float32))
            image.SetSpacing((1.0, 1.0, 1.5))
            if number % 2:
                image = sitk.Flip(image, (True, True, False))  # it takes its place along
            ending = {"images": "_0000.nii.gz", "noise": "_0001.nii.gz", "labels": ".nii.gz"}[kind]
            place = folder / ("labelsTr" if kind == "labels" else "imagesTr")
            place.mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(image, str(place / f"case_{number}{ending}"))
    described = {"channel_names": {"0": "T1", "1": "noise"}, "labels": {"background": 0, "left": 7, "right": 3},
                 "numTraining": CASES, "file_ending": ".nii.gz"}  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(described))
    return folder


def placed(dataset: Dataset, workspace: Path, folds: int = 2) -> DatasetFolder:
    """In the workspace, with folds, as planning leaves it."""
    files = Workspace(workspace).dataset_folder(dataset.name)
    keys = dataset.keys
    parts = [keys[number::folds] for number in range(folds)]
    split = tuple(Fold(tuple(key for key in keys if key not in part), part) for part in parts)
    write_json(files.dataset, dataset)
    write_json(files.folds, Folds(split))
    return files


@pytest.fixture
def files(tmp_path: Path) -> DatasetFolder:
    return placed(read_dataset(write_cases(tmp_path / NAME)), tmp_path / "workspace")


def record_of(files: DatasetFolder, name: str, fold: str = "0") -> BaselineRecord:
    return read_json(files.baseline(name, fold).record, BaselineRecord)


@pytest.mark.slow
def test_the_command_writes_label_maps_and_the_scores_of_evaluate(
    files: DatasetFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["baseline", "graph_cut", NAME, "-f", "0", "--no-report", "--threads", "2"]
    assert main([*words, "--json", "--workspace", str(files.root.parent)]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    folder = files.baseline("graph_cut", "0")
    assert result["kind"] == "result" and result["folders"] == [str(folder.root)]
    assert result["scores"]["cases"].keys() == {"case_0", "case_2", "case_4"}
    written = read_json(folder.scores, Summary)
    assert min(written.labels[label]["dice"].mean for label in ("left", "right")) > 0.9
    dataset = files.read_dataset()
    theirs = evaluate(
        Path(dataset.folder) / "labelsTr", folder.validation, labels=Path(dataset.folder) / "dataset.json"
    )
    assert theirs.cases == written.cases and (folder.validation / "scores.csv").exists()
    assert not list(files.root.rglob(".writing-*"))


@pytest.mark.slow
def test_every_case_is_segmented_by_what_other_cases_taught(files: DatasetFolder) -> None:
    found = baseline(files, "k_means", channels=["T1"], settings=SETTINGS)
    assert {*found.summary.cases} == {*files.read_dataset().keys} and {*found.records} == {"0", "1"}
    for fold, record in found.records.items():
        split = files.read_folds().named(fold)
        assert {*record.tallied} == {*split.train} and {*record.tried} <= {*split.train}
        assert {*record.seconds} == {*split.validation}
    assert found.summary.labels["left"]["dice"].mean + found.summary.labels["right"]["dice"].mean < 1.2  # as bright


@pytest.mark.slow
@pytest.mark.parametrize("name", ["threshold", "region_growing"])
def test_labels_of_validation_cases_teach_nothing(tmp_path: Path, name: str) -> None:
    """Theirs are exchanged, then those of the training cases: only this changes what is learned and predicted."""
    raw = write_cases(tmp_path / NAME)

    def learned(workspace: str) -> tuple[Any, list[np.ndarray]]:
        files = placed(read_dataset(raw), tmp_path / workspace)
        record = baseline(files, name, folds=["0"], channels=["T1"], settings=SETTINGS).records["0"]
        folder, labels = files.baseline(name, "0"), files.read_dataset().labels
        with np.load(folder.evidence) as held:
            arrays = [held[each] for each in ("brightness", "places", "sizes")]
        keys = files.read_folds().named("0").validation
        arrays += [read_label_map((folder.validation / f"{key}.nii.gz",), labels)[0] for key in keys]
        return replace(record.method), [*arrays, np.array(len(record.corrections))]

    def exchange(keys: list[int]) -> None:
        for key in keys:
            path = raw / "labelsTr" / f"case_{key}.nii.gz"
            image = sitk.ReadImage(str(path))
            array = sitk.GetArrayFromImage(image)
            other = sitk.GetImageFromArray(np.where(array == 7, 0, np.where(array == 3, 7, 3)).astype(np.uint8))
            other.CopyInformation(image)
            sitk.WriteImage(other, str(path))

    def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
        return all(np.array_equal(*pair) for pair in zip(one, other, strict=True))

    method, arrays = learned("first")
    exchange([0, 2, 4])
    again = learned("second")
    assert again[0] == method and same(again[1], arrays)
    exchange([1, 3, 5])
    assert not same(learned("third")[1], arrays)


@pytest.mark.slow
def test_what_was_done_is_kept_and_what_is_damaged_done_again(files: DatasetFolder) -> None:
    def done(**more: Any) -> dict[str, int]:
        baseline(files, "watershed", folds=["0"], settings=SETTINGS, **more)
        folder = files.baseline("watershed", "0")
        paths = [folder.record, folder.evidence, folder.scores, *folder.validation.glob("case_*")]
        return {path.name: path.stat().st_mtime_ns for path in paths}

    fixed = {"changes": ["seeds=0.3", "sigma=1"]}
    first = done(**fixed)
    assert done(**fixed) == first
    folder = files.baseline("watershed", "0")
    (folder.validation / "case_2.nii.gz").write_bytes(b"no image")
    second = done(**fixed)
    changed = {name for name in first if second[name] != first[name]}
    assert changed == {"baseline.json", "case_2.nii.gz", "scores.json"}
    folder.evidence.write_bytes(b"damaged")
    assert done(**fixed)["evidence.npz"] != first["evidence.npz"]
    assert record_of(files, "watershed").method.seeds == 0.3
    done(changes=["seeds=0.1", "sigma=1"])
    assert record_of(files, "watershed").method.seeds == 0.1


@pytest.mark.slow
def test_a_method_of_one_channel_takes_the_one_that_tells_labels_apart(files: DatasetFolder) -> None:
    baseline(files, "threshold", folds=["0"], settings=SETTINGS)
    first = record_of(files, "threshold")
    assert first.telling[0] == 0 and first.asked.channels == ("T1", "noise")
    poor = baseline(files, "threshold", folds=["0"], channels=["noise"], settings=SETTINGS)
    assert record_of(files, "threshold").asked.channels == ("noise",)
    assert poor.summary.dice < 0.3


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["snakes", NAME], "choose one of canny_fill"),
        (["threshold", NAME, "--channel", "FLAIR"], "there is no channel 'FLAIR'"),
        (["threshold", NAME, "--set", "colour=3"], "this method has the fields classes\n"),
        (["k_means", NAME, "--set", "centres=[[0.5]]"], "this method has the fields classes\n"),
        (["threshold", NAME, "--set", "classes=9"], "classes must be at most 5"),
        (["threshold", NAME, "--set", "classes=1"], "classes must be at least 2"),
        (["threshold", NAME, "-f", "7"], "there is no fold 7"),
        (["threshold", NAME, "-f", "all"], "give a number"),
    ],
)
def test_what_cannot_be_is_told_at_once(
    files: DatasetFolder, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["baseline", *words, "--no-report", "--workspace", str(files.root.parent)]) == 2
    assert told in capsys.readouterr().err and not files.all_baselines.exists()


@pytest.mark.slow
def test_reports_compare_methods_as_configurations(files: DatasetFolder) -> None:
    for name in ("threshold", "region_growing"):
        changes = {"threshold": ["classes=2"], "region_growing": ["seeds=0.3", "spread=2"]}[name]
        baseline(files, name, channels=["0"], changes=changes, settings=SETTINGS)
    source = open_source(files, pictures=False)
    assert [*source.scored()] == ["baseline region_growing", "baseline threshold"] and source.runs() == {}
    table = next(block for block in comparison.blocks(source) if hasattr(block, "rows"))
    assert {row[0] for row in table.rows} == {"baseline threshold"}


@pytest.mark.parametrize("example", ["overlapping_regions", "overlapping_masks", "rgb_2d", "scribbles_ignore"])
@pytest.mark.parametrize("name", ["gmm", "region_growing"])
def test_labels_of_every_kind_are_written_as_the_dataset_has_them(tmp_path: Path, example: str, name: str) -> None:
    dataset = make(EXAMPLES / f"{example}.json", tmp_path / "Dataset902_Noise")
    files = placed(dataset, tmp_path / "workspace")
    record = baseline(files, name, folds=["0"], settings=SETTINGS).records["0"]
    key = next(iter(record.seconds))
    paths = [*files.baseline(name, "0").validation.glob(f"{key}*{dataset.file_ending}")]
    found_map, _ = read_label_map(tuple(sorted(paths)), dataset.labels)
    dataset.labels.encode(found_map)


def test_a_view_turns_an_image_and_its_maps_back(files: DatasetFolder) -> None:
    dataset = files.read_dataset()
    for key in ("case_0", "case_1"):
        image = read_case(dataset.case(key))
        view = View.of(image, (0,), dataset.channels)
        numbers = np.arange(image.array[0].size).reshape(image.array.shape[1:])
        np.testing.assert_array_equal(view.back(view.turned(numbers)), numbers)
        labels = view.turned(read_label_map(dataset.case(key).label_files, dataset.labels)[0])
        middles = [np.argwhere(labels == value)[:, 2].mean() for value in (7, 3)]
        assert view.spacing == (1.5, 1.0, 1.0) and middles[0] > middles[1]  # x points to the patient's right in RAS


def test_large_images_become_coarser_along_the_finest_axis_first() -> None:
    assert coarsening((10, 100, 100), (5.0, 1.0, 1.0), 10**5) == (1, 1, 1)
    assert coarsening((10, 100, 100), (5.0, 1.0, 1.0), 25_000) == (1, 2, 2)
    factors = coarsening((7, 5, 3), (1.0, 1.0, 1.0), 1)
    assert np.prod([-(-size // factor) for size, factor in zip((7, 5, 3), factors)]) == 1
    array = np.arange(12.0).reshape(3, 4)
    np.testing.assert_allclose(block_means(array, (2, 2)), [[2.5, 4.5], [8.5, 10.5]])


def test_a_label_map_is_refined_and_seeds_are_grown(files: DatasetFolder, tmp_path: Path) -> None:
    dataset = files.read_dataset()
    case = dataset.case("case_1")
    truth = sitk.ReadImage(str(case.label_files[0]))
    array = sitk.GetArrayFromImage(truth)

    def written(values: np.ndarray, name: str) -> Path:
        image = sitk.GetImageFromArray(values.astype(np.uint8))
        image.CopyInformation(truth)
        sitk.WriteImage(image, str(tmp_path / name))
        return tmp_path / name

    def dice(path: Path) -> float:
        found = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        return min(2 * ((found == v) & (array == v)).sum() / ((found == v).sum() + (array == v).sum()) for v in (3, 7))

    rough = written(np.roll(array, (1, 2), (1, 2)), "rough.nii.gz")
    image = str(case.image_files[0])
    for method in ("graph_cut", "random_walker"):
        better = autoseg.refine(image, rough, tmp_path / f"{method}.nii.gz", method=method, reach=6.0)
        assert dice(better) > 0.9 > dice(rough) + 0.05
    seeds = np.where(array == 0, 0, 0)
    for value in (3, 7):
        z, y, x = np.argwhere(array == value).mean(0).astype(int)
        seeds[z, y - 1 : y + 2, x - 1 : x + 2] = value
    seeds[:, 0] = seeds[:, -1] = seeds[0] = 9
    grown = autoseg.refine(image, written(seeds, "seeds.nii.gz"), tmp_path / "grown.nii.gz", background=9)
    assert dice(grown) > 0.85
    with pytest.raises(UsageError, match="learns from other cases"):
        autoseg.refine(image, rough, tmp_path / "no.nii.gz", method="threshold")
    with pytest.raises(UsageError, match="exists already"):
        autoseg.refine(image, rough, grown)
    with pytest.raises(DatasetError, match="no voxel of a label"):
        autoseg.refine(image, written(0 * array, "empty.nii.gz"), tmp_path / "no.nii.gz")
    assert not (tmp_path / "no.nii.gz").exists()


def test_a_case_without_any_of_the_channels_is_named(files: DatasetFolder) -> None:
    dataset = files.read_dataset()
    lacking = replace(dataset.cases[1], images=(None, dataset.cases[1].images[1]))
    write_json(files.dataset, replace(dataset, cases=(dataset.cases[0], lacking, *dataset.cases[2:])))
    with pytest.raises(DatasetError, match="case 'case_1' has none of the channels"):
        baseline(files, "threshold", folds=["0"], channels=["T1"], settings=SETTINGS)


@pytest.mark.slow
def test_images_of_nan_and_training_cases_of_which_nothing_is_annotated(files: DatasetFolder) -> None:
    dataset = files.read_dataset()

    def rewritten(path: Path, array: np.ndarray) -> None:
        image = sitk.GetImageFromArray(array)
        image.CopyInformation(sitk.ReadImage(str(path)))
        sitk.WriteImage(image, str(path))

    for key in ("case_0", "case_1"):
        path = dataset.case(key).image_files[0]
        rewritten(path, np.full_like(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), np.nan))
    fixed: dict[str, Any] = {"folds": ["0"], "changes": ["seeds=0.3", "sigma=1"], "settings": SETTINGS}
    found = baseline(files, "watershed", channels=["T1"], **fixed)
    assert {*found.summary.cases} == {"case_0", "case_2", "case_4"}
    write_json(files.dataset, replace(dataset, labels=replace(dataset.labels, ignore=9)))
    for key in ("case_1", "case_3", "case_5"):
        path = dataset.case(key).label_files[0]
        assert path is not None
        rewritten(path, np.full((12, 24, 40), 9, np.uint8))
    with pytest.raises(DatasetError, match="none of the 3 training cases that were looked at has any label"):
        baseline(files, "watershed", **fixed)


@pytest.mark.slow
def test_what_was_learned_of_something_else_is_not_kept_when_learning_anew_is_cut_short(
    files: DatasetFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record of the first call must not lie beside evidence of the second."""
    fixed: dict[str, Any] = {"folds": ["0"], "changes": ["seeds=0.3", "spread=2"], "settings": SETTINGS}
    baseline(files, "region_growing", channels=["T1"], **fixed)
    folder = files.baseline("region_growing", "0")

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("autoseg.pipeline.baseline.write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            baseline(files, "region_growing", channels=["noise"], **fixed)
    assert folder.evidence.exists() and not folder.record.exists()


@pytest.mark.slow
def test_refining_leaves_seeds_and_what_lies_deep_as_they_are(tmp_path: Path) -> None:
    """Whatever the image says: here a method that finds nothing at all."""
    random = np.random.default_rng(0)
    array = np.zeros((8, 24, 24), np.uint8)
    array[:, 6:18, 6:18] = 5
    noise = random.normal(0, 1, array.shape).astype(np.float32)
    noise[:, 10:14, 10:14] = 30
    for name, values in (("image", noise), ("rough", array)):
        sitk.WriteImage(sitk.GetImageFromArray(values), str(tmp_path / f"{name}.nii.gz"))

    def refined(method: str, label_map: str, **more: Any) -> np.ndarray:
        output = tmp_path / f"{method}_{label_map}.nii.gz"
        autoseg.refine(tmp_path / "image.nii.gz", tmp_path / f"{label_map}.nii.gz", output, method=method, **more)
        return sitk.GetArrayFromImage(sitk.ReadImage(str(output)))

    for method in ("canny_fill", "region_growing"):
        found = refined(method, "rough", reach=3.0)
        assert (found[:, 10:14, 10:14] == 5).all() and not found[:, :2].any()
    seeds = np.where(array == 0, 9, 0).astype(np.uint8)
    seeds[:, 11:13, 11:13] = 5
    sitk.WriteImage(sitk.GetImageFromArray(seeds), str(tmp_path / "seeds.nii.gz"))
    for method in ("canny_fill", "level_set"):
        found = refined(method, "seeds", background=9)
        assert (found[seeds == 5] == 5).all() and not found[seeds == 9].any()
