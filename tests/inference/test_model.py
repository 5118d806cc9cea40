"""A model is read safely, says what does not fit, and gives back the kind of image it was given."""

import gc
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from run_settings import SETTINGS
from safetensors.torch import save_file
from torch import nn

from autoseg.core.geometry import Geometry, Image
from autoseg.core.inputs import InputSpec
from autoseg.core.records import write_json
from autoseg.errors import ModelError, UnknownPartError
from autoseg.inference.accumulator import Accumulator
from autoseg.inference.model import Model
from autoseg.parts.inputs import prior
from autoseg.plan import Plan
from autoseg.settings import Resolved, RunSettings


class AboveHalf(nn.Module):
    """Two heads that decide ``image > 0.5``: what comes out must be the image itself, on the file's grid."""

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [torch.cat([0.5 - x[:, :1], x[:, :1] - 0.5], dim=1)]


def copying(plan: Plan) -> Model:
    return Model(plan.task(), (AboveHalf(),), ("0",), SETTINGS)


def write_fold(folder: Path, plan: Plan, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    folder.mkdir(parents=True)
    write_json(folder / "plan.json", plan)
    network = plan.configuration()[1].network.build(InputSpec.of_image(len(plan.channels)), plan.labels.heads)
    save_file(network.state_dict(), folder / "weights.safetensors")
    return folder


def changed(plan: Plan, **changes: object) -> Plan:
    return replace(plan, configurations={plan.default: replace(plan.configurations[plan.default], **changes)})


def block() -> np.ndarray:
    array = np.zeros((14, 18, 10), np.float32)
    array[1:13, 2:16, 1:9] = 0.1
    array[3:11, 4:12, 3:8] = 1
    return array


def test_a_copying_network_gives_the_image_back_at_its_own_spacing(small_plan):
    found = copying(small_plan).predict(block(), spacing=(2.0, 2.0, 2.0))
    np.testing.assert_array_equal(found, np.where(block() > 0.5, 7, 0))


def test_a_copying_network_gives_the_image_back_from_another_spacing(small_plan):
    found = copying(small_plan).predict(block(), spacing=(1.0, 3.0, 2.5))
    expected = np.where(block() > 0.5, 7, 0)
    assert found.shape == expected.shape
    assert 2 * ((found == 7) & (expected == 7)).sum() / ((found == 7).sum() + (expected == 7).sum()) > 0.85


def test_a_simpleitk_image_comes_back_with_its_place_in_space(small_plan):
    image = sitk.GetImageFromArray(block())
    image.SetSpacing((2.0, 2.0, 2.0))
    image.SetOrigin((5.0, -3.0, 8.0))
    image.SetDirection((0, 1, 0, 1, 0, 0, 0, 0, -1))
    found = copying(small_plan).predict(image)
    assert isinstance(found, sitk.Image)
    assert (found.GetSpacing(), found.GetOrigin(), found.GetDirection()) == (
        image.GetSpacing(), image.GetOrigin(), image.GetDirection(),
    )  # fmt: skip
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), np.where(block() > 0.5, 7, 0))


def test_a_two_dimensional_simpleitk_image_stays_two_dimensional(small_plan):
    network = replace(small_plan.configuration()[1].network, kernels=((3, 3),) * 2, strides=((1, 1), (2, 2)))
    flat = changed(small_plan, patch_size=(8, 8), spacing=(None, 1.0, 1.0), network=network)
    plan = replace(flat, axis_order=(0, 1, 2))
    found = copying(plan).predict(sitk.GetImageFromArray(block()[5]))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), np.where(block()[5] > 0.5, 7, 0))


class CopyingPrior(nn.Module):
    """Two heads that decide what the last channel, the label indices of the earlier stage, says."""

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [torch.cat([0.5 - x[:, -1:], x[:, -1:] - 0.5], dim=1)]


@pytest.mark.parametrize("tta", ["none", "full"])
def test_the_second_stage_of_a_cascade_sees_what_the_first_predicts(small_plan, tta):
    first = copying(changed(small_plan, spacing=(3.0, 2.0, 2.0)))
    plan = changed(small_plan, inputs=(prior.Spec("3d_lowres"),))
    second = Model(plan.task(), (CopyingPrior(),), ("0",), SETTINGS, previous=first)
    found = second.predict(block(), spacing=(2.0, 2.0, 2.0), tta=tta)
    np.testing.assert_array_equal(found, first.predict(block(), spacing=(2.0, 2.0, 2.0), tta=tta))
    assert (found == 7).any()


def two_channels(plan: Plan) -> Plan:
    normalizers = plan.configuration()[1].normalizers * 2
    configuration = replace(plan.configurations[plan.default], normalizers=normalizers)
    return replace(plan, channels=("A", "B"), configurations={plan.default: configuration})


@pytest.mark.parametrize("layout", ["components", "fourth axis"])
def test_channels_of_a_simpleitk_image_are_its_components_or_fourth_axis(small_plan, layout):
    channels = [sitk.GetImageFromArray(block()), sitk.GetImageFromArray(0 * block())]
    for channel in channels:
        channel.SetSpacing((2.0, 2.0, 2.0))
    image = sitk.Compose(channels) if layout == "components" else sitk.JoinSeries(channels)
    found = copying(two_channels(small_plan)).predict(image)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), np.where(block() > 0.5, 7, 0))


def test_a_nibabel_image_comes_back_with_its_affine(small_plan):
    nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed")
    affine = np.array([[0, -2.0, 0, 4], [2.0, 0, 0, 5], [0, 0, 2.0, 6], [0, 0, 0, 1]])
    found = copying(small_plan).predict(nibabel.Nifti1Image(block().T, affine))
    np.testing.assert_array_equal(found.affine, affine)
    np.testing.assert_array_equal(np.asarray(found.dataobj).T, np.where(block() > 0.5, 7, 0))


@pytest.mark.parametrize("codes", [(0, 0), (1, 4), (2, 0), (0, 3)])
def test_a_nibabel_label_map_has_both_transforms_of_its_image(small_plan, codes):
    nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed")
    image = nibabel.Nifti1Image(block().T, None)
    image.header.set_zooms((2.0, 2.0, 2.0))
    image.header.set_qform(np.diag([2.0, 2.0, 2.0, 1.0]), codes[0])
    image.header.set_sform(np.array([[0, -2.0, 0, 4], [2.0, 0, 0, 5], [0, 0, 2.0, 6], [0, 0, 0, 1]]), codes[1])
    image = nibabel.Nifti1Image(block().T, image.header.get_best_affine(), image.header)
    found = copying(small_plan).predict(image)
    np.testing.assert_array_equal(found.affine, image.affine)
    for name in ("qform_code", "sform_code", "srow_x", "qoffset_x", "xyzt_units"):
        np.testing.assert_array_equal(found.header[name], image.header[name])
    assert found.get_data_dtype() == np.asarray(found.dataobj).dtype == np.uint8


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 0.0, -1.0])
def test_an_image_without_a_place_is_refused(small_plan, wrong):
    with pytest.raises(ModelError):
        copying(small_plan).predict(block(), spacing=(2.0, wrong, 2.0))
    if wrong <= 0:
        return
    with pytest.raises(ModelError, match="affine"):
        copying(small_plan).predict(block(), affine=np.diag([2.0, wrong, 2.0, 1.0]))


@pytest.mark.parametrize("dtype", [np.complex64, object, "U3"])
def test_what_is_no_real_number_is_refused(small_plan, dtype):
    with pytest.raises(ModelError, match="real numbers"):
        copying(small_plan).predict(block().astype(dtype), spacing=(2.0, 2.0, 2.0))
    with pytest.raises(ModelError, match="empty"):
        copying(small_plan).predict(block()[:0], spacing=(2.0, 2.0, 2.0))
    with pytest.raises(ModelError, match="real numbers"):
        copying(small_plan).predict(sitk.GetImageFromArray(block().astype(np.complex64)))


def test_a_path_gives_a_prediction(small_plan, tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(block()), tmp_path / "case.nii.gz")
    found = copying(small_plan).predict(tmp_path / "case.nii.gz")
    assert found.labels.shape == block().shape and found.geometry.spacing == (1.0, 1.0, 1.0)


def test_an_array_with_an_affine_is_one_with_the_spacing_of_its_columns(small_plan):
    turned = np.array([[0, -2.5, 0, 4], [1.5, 0, 0, 5], [0, 0, 3.0, 6], [0, 0, 0, 1]])  # x, y, z: 1.5, 2.5, 3 mm
    found = copying(small_plan).predict(block(), affine=turned)
    np.testing.assert_array_equal(found, copying(small_plan).predict(block(), spacing=(3.0, 2.5, 1.5)))
    with pytest.raises(ModelError, match="4 x 4"):
        copying(small_plan).predict(block(), affine=turned[:3])


def test_one_image_starts_no_thread_and_no_process(small_plan):
    copying(small_plan).predict(block(), spacing=(2.0, 2.0, 2.0))  # what torch starts for itself is there now
    before = {thread.ident for thread in threading.enumerate()}
    with pytest.MonkeyPatch.context() as patch:
        for start in ("threading.Thread.start", "multiprocessing.Process.start", "subprocess.Popen.__init__"):
            patch.setattr(start, lambda *_, **__: pytest.fail("a worker was started"))
        copying(small_plan).predict(block(), spacing=(2.0, 2.0, 2.0))
    assert {thread.ident for thread in threading.enumerate()} == before


def test_an_array_without_spacing_is_refused(small_plan):
    with pytest.raises(ModelError, match="spacing"):
        copying(small_plan).predict(block())


def test_an_unknown_kind_of_image_is_refused(small_plan):
    with pytest.raises(ModelError, match="dict"):
        copying(small_plan).predict({"image": block()})


def test_a_wrong_number_of_channels_names_those_expected(small_plan):
    with pytest.raises(ModelError, match="2 channels, but the model was trained on 1: MR"):
        copying(small_plan).predict(np.zeros((2, 9, 9, 9)), spacing=(1.0, 1.0, 1.0))


def test_an_image_with_nan_is_refused(small_plan):
    array = block()
    array[0, 0, 0] = np.nan
    with pytest.raises(ModelError, match="NaN"):
        copying(small_plan).predict(array, spacing=(1.0, 1.0, 1.0))


def test_a_network_that_overflows_is_reported_and_not_believed(small_plan):
    class Overflow(nn.Module):
        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            return [torch.full((len(x), 2, *x.shape[2:]), torch.inf)]

    model = replace(copying(small_plan), networks=(Overflow(),))
    with pytest.raises(ModelError, match="not finite"):
        model.segment(Image(block()[None], Geometry.plain(block().shape, (1.0, 1.0, 1.0))))


def test_folds_are_read_by_name_and_average(small_plan, tmp_path):
    for fold in ("0", "1"):
        write_fold(tmp_path / f"fold_{fold}", small_plan, seed=int(fold))
    both = Model.read(tmp_path, settings=SETTINGS)
    alone = [Model.read(tmp_path, [fold], settings=SETTINGS) for fold in ("0", "1")]
    assert both.folds == ("0", "1") and [model.folds for model in alone] == [("0",), ("1",)]
    image = Image(
        np.random.default_rng(0).normal(size=(1, 9, 11, 10)).astype(np.float32), Geometry.plain((9, 11, 10), (2.0,) * 3)
    )
    prepared = both.prepare(image)
    mean = sum(model.logits(prepared) for model in alone) / 2
    torch.testing.assert_close(both.logits(prepared), mean, rtol=1e-4, atol=1e-5)


def test_a_single_fold_folder_is_a_model(small_plan, tmp_path):
    assert Model.read(write_fold(tmp_path / "fold_all", small_plan), settings=SETTINGS).folds == ("all",)


def test_unfinished_folds_are_left_out(small_plan, tmp_path):
    write_fold(tmp_path / "fold_0", small_plan)
    (tmp_path / "fold_1" / "checkpoints").mkdir(parents=True)
    assert Model.read(tmp_path, settings=SETTINGS).folds == ("0",)
    with pytest.raises(ModelError, match="fold 1 is not trained; finished are 0"):
        Model.read(tmp_path, ["1"], settings=SETTINGS)


def test_a_model_without_a_finished_fold_says_so(tmp_path):
    (tmp_path / "fold_3").mkdir()
    with pytest.raises(ModelError, match="fold 3 has not finished"):
        Model.read(tmp_path, settings=SETTINGS)


def test_folds_that_were_not_trained_alike_are_refused(small_plan, tmp_path):
    write_fold(tmp_path / "fold_0", small_plan)
    write_fold(tmp_path / "fold_1", changed(small_plan, patch_size=(16, 8, 8)))
    with pytest.raises(ModelError, match="patch_size differ"):
        Model.read(tmp_path, settings=SETTINGS)


def test_folds_that_see_other_channels_are_refused(small_plan, tmp_path):
    normalizers = small_plan.configuration()[1].normalizers * 2
    for channel in range(2):
        one = replace(small_plan.configuration()[1], normalizers=normalizers, channels=(channel,))
        plan = replace(small_plan, channels=("T1", "T2"), configurations={"3d_fullres": one})
        write_fold(tmp_path / f"fold_{channel}", plan)
    with pytest.raises(ModelError, match="channels differ"):
        Model.read(tmp_path, settings=SETTINGS)


def test_folds_that_differ_in_epochs_only_belong_together(small_plan, tmp_path):
    write_fold(tmp_path / "fold_0", small_plan)
    rules = replace(small_plan.configuration()[1].training, epochs=9)
    write_fold(tmp_path / "fold_1", changed(small_plan, training=rules))
    assert len(Model.read(tmp_path, settings=SETTINGS).networks) == 2


def test_a_truncated_weight_file_is_named(small_plan, tmp_path):
    weights = write_fold(tmp_path / "fold_0", small_plan) / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelError, match=r"weights\.safetensors is damaged"):
        Model.read(tmp_path, settings=SETTINGS)


def test_weights_of_another_network_are_refused(small_plan, tmp_path):
    write_fold(tmp_path / "fold_0", small_plan)
    network = replace(small_plan.configuration()[1].network, features=(4, 6))
    write_json(tmp_path / "fold_0" / "plan.json", changed(small_plan, network=network))
    with pytest.raises(ModelError, match="does not belong to the plan"):
        Model.read(tmp_path, settings=SETTINGS)


def test_a_strangers_plan_cannot_name_code_to_run(small_plan, tmp_path):
    plan = write_fold(tmp_path / "fold_0", small_plan) / "plan.json"
    plan.write_text(plan.read_text().replace('"name": "plain_unet"', '"name": "antigravity.evil"'))
    with pytest.raises(UnknownPartError, match="--trust antigravity"):
        Model.read(tmp_path, settings=SETTINGS)


@pytest.mark.slow
def test_what_overflows_in_half_precision_is_computed_again_in_float32(small_plan, caplog):
    class OverflowsInHalf(AboveHalf):
        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            (logits,) = super().forward(x)
            windows = sum(type(each) is Accumulator for each in gc.get_objects())
            assert windows == 1  # that of the pass that failed is gone when the next begins
            return [logits * torch.inf if torch.is_autocast_enabled("cpu") else logits]

    plan = small_plan
    half = Resolved(torch.device("cpu"), torch.bfloat16)
    model = Model(plan.task(), (OverflowsInHalf(),), ("0",), RunSettings(device="cpu"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("autoseg.inference.predictor.resolve", lambda *_, **__: half)
        found = model.predict(block(), spacing=(2.0, 2.0, 2.0))
    np.testing.assert_array_equal(found, np.where(block() > 0.5, 7, 0))
    assert "predicted again in float32" in caplog.text


def test_probabilities_of_one_image_come_as_floats(small_plan):
    image = Image(block()[None], Geometry.plain(block().shape, (2.0,) * 3))
    found = copying(small_plan).segment(image, probabilities="float32").results["probabilities"]
    assert found.names == ("background", "organ") and found.stored.dtype == np.float32
    inside = (slice(1, 13), slice(2, 16), slice(1, 9))  # what lies outside was cropped away: certainly background
    assert found.stored[0, 0].min() == 1 and not found.stored[1, 0].any()
    np.testing.assert_allclose(found.stored[1][inside], 1 / (1 + np.exp(1 - 2 * block()[inside])), atol=1e-5)
