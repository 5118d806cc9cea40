"""Prediction of many cases: every outcome is told, nothing half written, one bad case harms no other."""

import logging
import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from torch import nn

from autoseg.core import progress
from autoseg.data.dataset import Case
from autoseg.data.layouts import find_images
from autoseg.errors import UsageError
from autoseg.inference.memory import Gate
from autoseg.inference.model import Model
from autoseg.inference.options import PredictOptions
from autoseg.inference.outputs import chosen, label_map
from autoseg.inference.outputs.probabilities import KINDS
from autoseg.inference.stored_probabilities import open_stored, stored_problem
from autoseg.pipeline import predict as story
from autoseg.pipeline import predict_stages
from autoseg.pipeline.predict import predict
from autoseg.pipeline.results import RECORD
from autoseg.settings import RunSettings


class AboveHalf(nn.Module):
    """Decides ``image > 0.5``."""

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [torch.cat([0.5 - x, x - 0.5], dim=1)]


@pytest.fixture
def model(small_plan) -> Model:
    return Model(small_plan.task(), (AboveHalf(),), ("0",), RunSettings(device="cpu", precision="float32"))


def write_case(folder: Path, key: str, seed: int) -> Case:
    array = np.random.default_rng(seed).integers(0, 2, (9, 11, 10)).astype(np.float32)
    array[0, 0, 0] = array[-1, -1, -1] = 1  # nothing is cropped
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((2.0, 2.0, 2.0))
    image.SetOrigin((1.0, 2.0, float(seed)))
    folder.mkdir(exist_ok=True)
    path = folder / f"{key}_0000.nii.gz"
    sitk.WriteImage(image, path)
    return Case.of_files(key, (str(path),))


@pytest.fixture
def cases(tmp_path) -> list[Case]:
    return [write_case(tmp_path / "images", f"case.{number}", number) for number in range(5)]


def test_every_case_is_written_on_its_own_grid(model, cases, tmp_path):
    report = predict(model, cases, tmp_path / "out")
    assert [path.name for path in report.written] == [f"case.{number}.nii.gz" for number in range(5)]
    for case, path in zip(cases, report.written):
        image, labels = sitk.ReadImage(case.image_files[0]), sitk.ReadImage(path)
        assert labels.GetOrigin() == image.GetOrigin()
        np.testing.assert_array_equal(sitk.GetArrayFromImage(labels), 7 * (sitk.GetArrayFromImage(image) > 0.5))


@pytest.mark.parametrize("codes", [(0, 0), (1, 4)])
def test_label_maps_and_probabilities_lie_on_the_image_in_viewers_that_read_the_other_transform(
    model, cases, tmp_path, codes
):
    image = nibabel.load(cases[0].image_files[0])
    image.header.set_qform(np.diag([2.0, 2.0, 2.0, 1.0]), codes[0])
    image.header.set_sform(np.array([[0, -2, 0, 8], [2, 0, 0, 9], [0, 0, 2, 10], [0, 0, 0, 1.0]]), codes[1])
    odd = nibabel.Nifti1Image(np.asarray(image.dataobj), None, image.header)
    nibabel.save(odd, tmp_path / "odd_0000.nii.gz")
    report = predict(
        model,
        [Case.of_files("odd", (str(tmp_path / "odd_0000.nii.gz"),))],
        tmp_path / "out",
        outputs=chosen(probabilities="uint8"),
    )
    assert not report.failed
    expected = nibabel.load(tmp_path / "odd_0000.nii.gz")
    for path in (tmp_path / "out" / "odd.nii.gz", tmp_path / "out" / "probabilities" / "odd.nii.gz"):
        found = nibabel.load(path)
        np.testing.assert_array_equal(found.affine, expected.affine)
        assert found.header["qform_code"] == codes[0]
        assert found.header["sform_code"] == codes[1]
        np.testing.assert_array_equal(found.get_qform(), expected.get_qform())
    labels = np.asarray(nibabel.load(tmp_path / "out" / "odd.nii.gz").dataobj)
    np.testing.assert_array_equal(labels, 7 * (np.asarray(expected.dataobj) > 0.5))


def test_a_broken_file_is_reported_and_the_others_go_on(model, cases, tmp_path):
    cases[2].image_files[0].write_bytes(b"not an image")
    report = predict(model, cases, tmp_path / "out")
    assert list(report.failed) == ["case.2"] and "case.2_0000.nii.gz" in report.failed["case.2"]
    assert len(report.written) == 4
    assert "FAILED case.2: read failed" in report.stage_table()


def test_a_case_with_too_many_channels_is_reported_and_the_others_go_on(model, cases, tmp_path):
    cases[0] = replace(cases[0], images=cases[0].images * 2)
    report = predict(model, cases, tmp_path / "out")
    assert "2 channels, but the model was trained on 1: MR" in report.failed["case.0"]
    assert len(report.written) == 4


@pytest.mark.parametrize("spacing", [2000.0, 1e30, 1e-6])
def test_a_case_in_other_units_is_reported_and_the_others_go_on(model, cases, tmp_path, spacing):
    image = sitk.ReadImage(cases[2].image_files[0])
    image.SetSpacing((spacing,) * 3)
    path = str(tmp_path / "images" / "units.mha")  # NIfTI's header could not hold all of these
    sitk.WriteImage(image, path)
    cases[2] = Case.of_files(cases[2].key, (path,))
    if spacing < 1:  # as large as images that are no mistake have to be
        image = sitk.ConstantPad(image, (20, 20, 20), (0, 0, 0), 1)
        sitk.WriteImage(image, path)
    report = predict(model, cases, tmp_path / "out")
    assert list(report.failed) == ["case.2"] and "would become" in report.failed["case.2"]
    assert len(report.written) == 4


def test_pictures_among_volumes_are_reported_and_the_others_go_on(model, cases, tmp_path):
    pixels = np.arange(600, dtype=np.uint8).reshape(20, 30)
    sitk.WriteImage(sitk.GetImageFromArray(pixels), tmp_path / "images" / "picture.png")
    picture = Case.of_files("picture", (str(tmp_path / "images" / "picture.png"),))
    report = predict(model, [*cases, picture], tmp_path / "out")
    assert list(report.failed) == ["picture"] and "2-D" in report.failed["picture"]
    assert len(report.written) == 5


def test_a_volume_whose_label_map_could_not_be_written_is_not_predicted(model, cases, tmp_path):
    class Never(nn.Module):
        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            raise AssertionError("nothing is to be predicted")

    pictures = replace(model.task, file_ending=".png")
    report = predict(replace(model, task=pictures, networks=(Never(),)), cases[:1], tmp_path / "out")
    assert "a volume of 9 slices does not fit into .png" in report.failed["case.0"]


def test_a_defect_of_ours_is_not_taken_for_a_problem_of_the_case(model, cases, tmp_path):
    class Defect(nn.Module):
        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="multiplied"):
        predict(replace(model, networks=(Defect(),)), cases, tmp_path / "out")


def place_of(stage: str) -> object:
    """Where a stage looks its function up."""
    return {"read_case": predict_stages, "decide": Model, "write_label_map": label_map}[stage]


@pytest.mark.parametrize("stage", ["read_case", "write_label_map"])
def test_a_defect_in_another_thread_stops_everything_and_hangs_nowhere(model, cases, tmp_path, stage, monkeypatch):
    def defect(*_: object, **__: object) -> None:
        raise ValueError("a defect")

    monkeypatch.setattr(place_of(stage), stage, defect)
    before = threading.active_count()
    with pytest.raises(ValueError, match="a defect"):
        predict(model, cases, tmp_path / "out")
    assert threading.active_count() == before


@pytest.fixture
def unhanging(monkeypatch):
    """Runs a function in a thread; whoever still waits at the gate after a minute is let go, and the test fails."""
    gates: list[Gate] = []

    class Watched(Gate):
        def __init__(self, budget: int) -> None:
            super().__init__(budget)
            gates.append(self)

    monkeypatch.setattr(story, "Gate", Watched)

    def run(function):
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(function)
            hung = not wait([future], timeout=60).done
            for gate in gates if hung else ():
                gate.__exit__(None, None, None)
            assert not hung, "cases waited for each other for ever"
            return future.result()

    return run


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("memory", [1, 10**9])
def test_cases_that_have_to_go_alone_never_wait_for_each_other(model, tmp_path, unhanging, threads, memory):
    cases = [write_case(tmp_path / "images", f"case.{number:02}", number) for number in range(13)]
    huge = sitk.ReadImage(cases[5].image_files[0])
    huge.SetSpacing((2000.0,) * 3)  # takes more than any machine has
    sitk.WriteImage(huge, cases[5].image_files[0])
    cases[7].image_files[0].write_bytes(b"not an image")
    cases[11].image_files[0].write_bytes(b"not an image")
    settings = replace(model.settings, threads=threads, memory=memory)
    before = torch.get_num_threads()
    try:
        report = unhanging(lambda: predict(replace(model, settings=settings), cases, tmp_path / "out"))
    finally:
        torch.set_num_threads(before)
    assert list(report.failed) == ["case.05", "case.07", "case.11"]
    assert len(report.written) == 10


@pytest.mark.parametrize("stage", ["read_case", "decide", "write_label_map"])
def test_a_defect_while_others_wait_for_memory_hangs_nowhere(model, tmp_path, unhanging, stage, monkeypatch):
    cases = [write_case(tmp_path / "images", f"case.{number:02}", number) for number in range(9)]
    seen: list[int] = []

    def defect(*_: object, **__: object) -> None:
        raise ValueError("a defect")

    def fourth(*given: object, **named: object) -> object:
        seen.append(1)
        return (defect if len(seen) == 4 else genuine)(*given, **named)

    place = place_of(stage)
    genuine = getattr(place, stage)
    monkeypatch.setattr(place, stage, fourth)
    settings = replace(model.settings, threads=2, memory=1)
    before = torch.get_num_threads()
    try:
        with pytest.raises(ValueError, match="a defect"):
            unhanging(lambda: predict(replace(model, settings=settings), cases, tmp_path / "out"))
    finally:
        torch.set_num_threads(before)


def test_many_cases_are_predicted_at_once_and_come_in_order(model, tmp_path):
    cases = [write_case(tmp_path / "images", f"case.{number:02}", number) for number in range(9)]
    seen: set[tuple[int, int]] = set()
    together = threading.Barrier(2, timeout=60)  # one thread alone would wait in vain

    class Watched(AboveHalf):
        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            here = (threading.get_ident(), torch.get_num_threads())
            if here not in seen:
                seen.add(here)
                together.wait()
            return super().forward(x)

    settings = replace(model.settings, threads=2)
    before = torch.get_num_threads()
    try:
        report = predict(replace(model, networks=(Watched(),), settings=settings), cases, tmp_path / "out")
    finally:
        torch.set_num_threads(before)
    assert [path.name for path in report.written] == [f"case.{number:02}.nii.gz" for number in range(9)]
    assert len(seen) == 2 and {threads for _, threads in seen} == {1}
    for case, path in zip(cases, report.written):
        expected = 7 * (sitk.GetArrayFromImage(sitk.ReadImage(case.image_files[0])) > 0.5)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(path)), expected)


def test_a_log_tells_of_the_patches_of_a_case_that_takes_long(model, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LOOKS", {True: 0.01, False: 0.01})
    told, lines, later = threading.Event(), [], threading.Event()

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            line = record.getMessage()
            if later.is_set() and "patch " in line:
                lines.append(line)
                told.set()

    class WaitsForALine(AboveHalf):
        """After the first patches, until the log has said something."""

        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            if later.is_set():
                assert told.wait(60)
            later.set()
            return super().forward(x)

    listening = Listening()
    monkeypatch.setattr(progress.LOG, "handlers", [*progress.LOG.handlers, listening])
    caplog.set_level(logging.INFO, "autoseg")  # an attribute alone would leave what the logger remembers
    waits = replace(model, networks=(WaitsForALine(),), settings=replace(model.settings, threads=1))
    predict(waits, [write_case(tmp_path / "images", "case", 0)], tmp_path / "out", options=PredictOptions(tta="none"))
    done, of = map(int, re.search(r"predicting: 0 of 1 done, patch (\d+) of (\d+)", lines[0]).groups())
    assert 0 <= done < of and lines[0].endswith("left") == bool(done)


def test_what_runs_beside_a_defect_ends_at_once(model, tmp_path):
    cases = [write_case(tmp_path / "images", f"case.{number:02}", number) for number in range(8)]
    first = sitk.ReadImage(cases[0].image_files[0])
    sitk.WriteImage(first * 5, cases[0].image_files[0])
    patches: list[int] = []

    class BreaksOnBright(AboveHalf):
        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            if x.max() > 2:
                raise ValueError("a defect")
            patches.append(len(x))
            time.sleep(0.1)
            return super().forward(x)

    broken = replace(model, networks=(BreaksOnBright(),), settings=replace(model.settings, threads=2))
    with pytest.raises(ValueError, match="a defect"):
        predict(broken, cases, tmp_path / "out")
    assert len(patches) <= 8  # one or two of the eight places of the case that was under way, each mirrored


@pytest.mark.parametrize("memory", [None, 1, 10**12])
def test_label_maps_do_not_depend_on_the_memory(model, cases, tmp_path, memory):
    report = predict(replace(model, settings=replace(model.settings, memory=memory)), cases, tmp_path / "out")
    assert len(report.written) == 5 and not report.failed
    for case, path in zip(cases, report.written):
        expected = 7 * (sitk.GetArrayFromImage(sitk.ReadImage(case.image_files[0])) > 0.5)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(path)), expected)


def test_a_case_that_takes_more_than_there_is_says_so(model, cases, tmp_path, caplog):
    with caplog.at_level("WARNING", "autoseg"):
        predict(replace(model, settings=replace(model.settings, memory=1)), cases[:1], tmp_path / "out")
    assert "case.0: takes about 0.1 GB of memory, but only 0.0 GB are left for it" in caplog.text


def test_a_label_map_never_replaces_an_image(model, cases, tmp_path):
    key = cases[0].key + "_0000"
    with pytest.raises(UsageError, match="would replace an image"):
        predict(model, [replace(cases[0], key=key)], tmp_path / "images")


def test_finished_cases_are_kept_on_request(model, cases, tmp_path):
    predict(model, cases[:2], tmp_path / "out")
    before = (tmp_path / "out" / "case.0.nii.gz").stat().st_mtime_ns
    report = predict(model, cases, tmp_path / "out", existing="keep")
    assert report.skipped == ("case.0", "case.1") and len(report.written) == 3
    assert (tmp_path / "out" / "case.0.nii.gz").stat().st_mtime_ns == before


def test_leftovers_of_a_killed_run_are_removed(model, cases, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".writing-999999999-0123abcd-case.0.nii.gz").write_bytes(b"half")
    predict(model, cases, tmp_path / "out")
    assert not list((tmp_path / "out").glob(".writing-*"))


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_lie_beside_the_label_maps_not_among_them(model, cases, tmp_path, kind):
    predict(model, cases[:1], tmp_path / "out", outputs=chosen(probabilities=kind))
    assert sorted(path.name for path in (tmp_path / "out").glob("*.nii.gz")) == ["case.0.nii.gz"]
    chances = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "out" / "probabilities" / "case.0.nii.gz"))
    labels = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "out" / "case.0.nii.gz"))
    assert chances.size == 2 * labels.size
    np.testing.assert_array_equal((chances > 0.5).sum(axis=None), labels.size)


def test_the_label_of_a_training_case_is_not_read_as_a_channel(model, cases, tmp_path):
    labelled = replace(cases[0], label=str(cases[1].image_files[0]))
    assert not predict(model, [labelled], tmp_path / "out").failed


def test_the_report_tells_the_time_of_every_stage(model, cases, tmp_path):
    report = predict(model, cases, tmp_path / "out")
    assert list(report.seconds) == ["read", "prepare", "network", "resample", "write"]
    assert all(taken > 0 for taken in report.seconds.values())
    assert "5 cases written" in report.stage_table()


def test_a_two_dimensional_image_is_predicted_and_written_as_one(model, small_plan, tmp_path):
    network = replace(model.configuration.network, kernels=((3, 3),) * 2, strides=((1, 1), (2, 2)))
    configuration = replace(model.configuration, patch_size=(8, 8), spacing=(None, 1.0, 1.0), network=network)
    plan = replace(
        small_plan,
        axis_order=(0, 1, 2),
        labels=replace(small_plan.labels, names={"background": 0, "vessel": 255}),
        file_ending=".png",
        configurations={small_plan.default: configuration},
    )
    pixels = np.zeros((20, 30), np.uint8)
    pixels[5:12, 8:25] = 1
    sitk.WriteImage(sitk.GetImageFromArray(pixels), tmp_path / "scan.png")
    case = Case.of_files("scan", (str(tmp_path / "scan.png"),))
    report = predict(replace(model, task=plan.task()), [case], tmp_path / "out", outputs=chosen(probabilities="uint8"))
    assert not report.failed
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "out" / "scan.png")), 255 * pixels)


def test_label_maps_do_not_go_among_the_images(tmp_path: Path) -> None:
    from autoseg.pipeline.predict import refuse_among_images

    (tmp_path / "images").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "images")
    (tmp_path / "images" / "scan_0000.nii.gz").touch()
    for output in (tmp_path / "images", tmp_path / "link", tmp_path / "images" / ".." / "images"):
        with pytest.raises(UsageError, match="holds the images"):
            refuse_among_images([tmp_path / "images"], output)
    refuse_among_images([tmp_path / "images"], tmp_path / "out")
    refuse_among_images([tmp_path / "images" / "scan_0000.nii.gz"], tmp_path / "images")


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_predicting_again_replaces_what_predicting_wrote(model, cases, tmp_path):
    first = predict(model, cases, tmp_path / "out", outputs=chosen(probabilities="uint8"))
    before = content(tmp_path / "out")
    assert (
        len(predict(model, cases, tmp_path / "out", outputs=chosen(probabilities="uint8")).written)
        == len(first.written)
        == 5
    )
    after = content(tmp_path / "out")
    assert before.pop(RECORD) and after.pop(RECORD) and after == before


@pytest.mark.parametrize("existing", ["refuse", "keep"])
def test_files_that_predict_did_not_write_are_never_replaced(model, cases, tmp_path, existing):
    truth = tmp_path / "labelsTr"
    truth.mkdir()
    for case in cases[1:3]:
        (truth / f"{case.key}.nii.gz").write_bytes(b"hours of work")
    before = content(truth)
    with pytest.raises(UsageError, match=r"2 of \d files .* wrote there: case\.1\.nii\.gz, case\.2.*--overwrite"):
        predict(model, cases, truth, existing=existing)
    assert content(truth) == before
    assert len(predict(model, cases, truth, existing="replace").written) == 5
    assert len(predict(model, cases, truth).written) == 5  # they are its own now


@pytest.mark.parametrize("place", ["probabilities/case.1.nii.gz", "case.1.nii.gz"])
@pytest.mark.parametrize("kind", ["file", "link", "nowhere", "folder"])
def test_whatever_lies_in_the_place_of_a_result_is_spared(model, cases, tmp_path, place, kind):
    path = tmp_path / "out" / place
    path.parent.mkdir(parents=True)
    (tmp_path / "mine").write_bytes(b"mine")
    if kind == "file":
        path.write_bytes(b"mine")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / ("mine" if kind == "link" else "gone"))
    with pytest.raises(UsageError, match=r"1 of 10 files .*: case\.1\.nii\.gz\. Nothing was predicted"):
        predict(model, cases, tmp_path / "out", outputs=chosen(probabilities="uint8"))
    assert os.path.lexists(path)
    assert not (tmp_path / "out" / "case.0.nii.gz").exists()


def test_a_label_map_that_was_corrected_by_hand_is_spared_and_kept(model, cases, tmp_path):
    predict(model, cases, tmp_path / "out")
    path = tmp_path / "out" / "case.1.nii.gz"
    labels = sitk.ReadImage(path)
    labels[0, 0, 0] = 0
    sitk.WriteImage(labels, path)
    corrected = path.read_bytes()
    with pytest.raises(UsageError, match=r"1 of 5 files .*case\.1\.nii\.gz"):
        predict(model, cases, tmp_path / "out")
    assert predict(model, cases, tmp_path / "out", existing="keep").skipped == tuple(case.key for case in cases)
    assert path.read_bytes() == corrected


def test_label_maps_without_a_record_are_kept_on_request(model, cases, tmp_path):
    """As autoseg wrote them before there was one."""
    predict(model, cases, tmp_path / "out")
    (tmp_path / "out" / RECORD).unlink()
    with pytest.raises(UsageError, match="--continue keeps label maps that are there; --overwrite replaces"):
        predict(model, cases, tmp_path / "out")
    assert len(predict(model, cases, tmp_path / "out", existing="keep").skipped) == 5


@pytest.mark.parametrize("killed", ["before", "after"])
def test_what_a_killed_run_wrote_is_its_own(model, cases, tmp_path, killed, monkeypatch):
    class Killed(BaseException):
        """As good as kill -9: nothing is tidied up or noted after it."""

    def write(*given: object, **named: object) -> None:
        if killed == "after":
            genuine(*given, **named)
        raise Killed

    genuine = label_map.write_label_map
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(label_map, "write_label_map", write)
        predict(model, cases, tmp_path / "out")
    with (tmp_path / "out" / RECORD).open("ab") as file:
        file.write(b'{"file": "case.4.nii')  # a power cut
    assert len(predict(model, cases, tmp_path / "out").written) == 5
    assert len(predict(model, cases, tmp_path / "out").written) == 5


@pytest.mark.parametrize("damage", ["cut", "half", "shape", "grid"])
def test_a_damaged_result_is_not_kept_but_predicted_again(model, cases, tmp_path, damage, caplog):
    predict(model, cases, tmp_path / "out")
    path = tmp_path / "out" / "case.1.nii.gz"
    whole = path.read_bytes()
    if damage in ("cut", "half"):
        path.write_bytes(whole[: 60 if damage == "cut" else len(whole) - 20])
    else:
        labels = sitk.ReadImage(path)
        labels.SetSpacing((2.0, 2.0, 3.0))
        sitk.WriteImage(labels[:, :, :-1] if damage == "shape" else labels, path)
    report = predict(model, cases, tmp_path / "out", existing="keep")
    assert [path.name for path in report.written] == ["case.1.nii.gz"]
    assert path.read_bytes() == whole
    assert "case case.1: " in caplog.text and "it is predicted again" in caplog.text


@pytest.mark.slow
def test_probabilities_that_are_missing_are_predicted(model, cases, tmp_path):
    predict(model, cases, tmp_path / "out")
    report = predict(model, cases, tmp_path / "out", existing="keep", outputs=chosen(probabilities="uint8"))
    assert len(report.written) == 5
    assert (
        len(predict(model, cases, tmp_path / "out", existing="keep", outputs=chosen(probabilities="uint8")).skipped)
        == 5
    )


def test_a_record_that_is_a_pipe_is_refused(model, cases, tmp_path):
    (tmp_path / "out").mkdir()
    os.mkfifo(tmp_path / "out" / RECORD)
    with pytest.raises(OSError, match="pipe"):
        predict(model, cases, tmp_path / "out")


def test_links_that_lead_in_a_circle_are_reported_and_the_others_go_on(model, cases, tmp_path):
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / "images" / f"{name}_0000.nii.gz").symlink_to(tmp_path / "images" / f"{other}_0000.nii.gz")
    found, refused = find_images(tmp_path / "images", 1)
    report = predict(model, found, tmp_path / "out", refused=refused)
    assert sorted(report.failed) == ["a", "b"] and len(report.written) == 5


def test_cases_that_were_refused_are_in_the_report(model, cases, tmp_path):
    report = predict(model, cases, tmp_path / "out", refused={"odd": "it has 3 channels"})
    assert report.failed == {"odd": "it has 3 channels"} and len(report.written) == 5


def predicted(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(path))


@pytest.mark.slow
def test_uncertainty_is_written_in_bits_on_the_images_grid(model, cases, tmp_path):
    report = predict(model, cases, tmp_path / "out", outputs=chosen(["uncertainty"]))
    assert len(report.written) == 5 and not report.failed
    for case in cases:
        path = tmp_path / "out" / "uncertainty" / f"{case.key}.nii.gz"
        image, found = sitk.ReadImage(case.image_files[0]), sitk.ReadImage(path)
        assert found.GetOrigin()[:3] == image.GetOrigin()
        assert predicted(path).shape == (2, *sitk.GetArrayFromImage(image).shape)
        in_memory = model.predict(case.image_files[0], outputs=["uncertainty"])
        np.testing.assert_allclose(predicted(path), in_memory.results["uncertainty"].values, atol=1e-6)
        chance = 1 / (1 + np.exp(-1.0))  # logits of -0.5 and 0.5, whatever the voxel, from a network that sees only it
        bits = -(chance * np.log2(chance) + (1 - chance) * np.log2(1 - chance))
        np.testing.assert_allclose(predicted(path)[0], bits, atol=1e-3)
        assert predicted(path)[1].max() < 1e-3  # all members say so
    plain = predict(model, cases, tmp_path / "plain")
    for path in plain.written:
        assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes()


OTHERS = {
    "uncertainty": ["uncertainty/case.1.nii.gz"],
    "stored_probabilities": ["probabilities/case.1.b2nd", "probabilities/case.1.json"],
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "place"), [(name, place) for name in OTHERS for place in OTHERS[name]])
def test_files_of_any_output_are_treated_as_label_maps_are(model, cases, tmp_path, name, place, caplog):
    path, outputs = tmp_path / "out" / place, chosen([name])
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    for existing in ("refuse", "keep"):
        with pytest.raises(UsageError, match=f"1 of .* files .*: {path.name}. Nothing was predicted"):
            predict(model, cases, tmp_path / "out", outputs=outputs, existing=existing)
    assert content(tmp_path / "out") == {place: b"mine"}
    assert len(predict(model, cases, tmp_path / "out", outputs=outputs, existing="replace").written) == 5
    first = content(tmp_path / "out")
    assert len(predict(model, cases, tmp_path / "out", outputs=outputs).written) == 5  # they are its own now
    assert len(predict(model, cases, tmp_path / "out", outputs=outputs, existing="keep").skipped) == 5
    path.write_bytes(first[place][:-20])
    report = predict(model, cases, tmp_path / "out", outputs=outputs, existing="keep")
    assert [each.name for each in report.written] == ["case.1.nii.gz"] and "it is predicted again" in caplog.text
    path.unlink()
    report = predict(model, cases, tmp_path / "out", outputs=outputs, existing="keep")
    assert [each.name for each in report.written] == ["case.1.nii.gz"]
    again = content(tmp_path / "out")
    assert first.pop(RECORD) and again.pop(RECORD) and again == first


def test_stored_probabilities_are_complete_once_the_label_map_is_there(model, cases, tmp_path, monkeypatch):
    stored = tmp_path / "out" / "probabilities" / "case.0.b2nd"
    outputs = chosen(["stored_probabilities"])

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(label_map, "write_label_map", killed)
        predict(model, cases[:1], tmp_path / "out", outputs=outputs)
    assert stored_problem(stored, [tmp_path / "out" / "case.0.nii.gz"]) == ""
    predict(model, cases[:1], tmp_path / "out", outputs=outputs)  # what is there is its own
    assert stored_problem(stored, [tmp_path / "out" / "case.0.nii.gz"]) is None


def test_several_outputs_of_one_run_agree(model, cases, tmp_path):
    outputs = chosen(["uncertainty", "stored_probabilities"], probabilities="float32")
    report = predict(model, cases[:2], tmp_path / "out", outputs=outputs)
    assert not report.failed
    chances = predicted(tmp_path / "out" / "probabilities" / "case.0.nii.gz")
    entropy = -(chances * np.log2(chances)).sum(0)
    np.testing.assert_allclose(predicted(tmp_path / "out" / "uncertainty" / "case.0.nii.gz")[0], entropy, atol=1e-3)
    assert open_stored(tmp_path / "out" / "probabilities" / "case.0.b2nd").shape[0] == 2


def test_a_result_never_replaces_an_image(model, cases, tmp_path):
    images = [replace(case, key=f"{case.key}_0000") for case in cases]
    folder = tmp_path / "images"
    folder.rename(tmp_path / "probabilities")
    images = [Case.of_files(case.key, (str(tmp_path / "probabilities" / f"{case.key}.nii.gz"),)) for case in images]
    with pytest.raises(UsageError, match="would replace an image"):
        predict(model, images, tmp_path, outputs=chosen(probabilities="uint8"), existing="replace")


@pytest.mark.parametrize(("tta", "folds", "said"), [("none", 1, True), ("none", 2, False), ("full", 1, False)])
def test_who_has_nobody_to_disagree_with_is_told(model, cases, tmp_path, tta, folds, said, caplog):
    several = replace(model, networks=model.networks * folds, folds=("0", "1")[:folds])
    predict(several, cases[:1], tmp_path / "out", options=PredictOptions(tta), outputs=chosen(["uncertainty"]))
    assert ("disagrees with itself" in caplog.text) == said
    caplog.clear()
    predict(several, cases[:1], tmp_path / "out", options=PredictOptions(tta))
    assert "disagrees with itself" not in caplog.text
