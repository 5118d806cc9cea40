"""A budget lets cases in one after the other where two would not fit, and never locks anybody out for good."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from tasks import task_of
from torch._subclasses.fake_tensor import FakeTensorMode

from autoseg.core.fusion import METHODS
from autoseg.core.geometry import Geometry
from autoseg.core.inputs import InputSpec
from autoseg.core.labels import ExclusiveLabels
from autoseg.core.process import MemoryPeak, resident_bytes
from autoseg.corrections import Correction, corrected
from autoseg.inference.accumulator import Accumulator, Space
from autoseg.inference.memory import CORRECTING, Gate, Need, budget, need, working_bytes
from autoseg.inference.model import Model
from autoseg.inference.sliding_window import patches_at_once
from autoseg.parts.inputs import prior
from autoseg.parts.networks import multi_encoder_unet, plain_unet, residual_unet
from autoseg.parts.networks.multi_encoder_unet import MOST_ENCODERS
from autoseg.parts.postprocessors import fill_holes, largest_component, minimum_size
from autoseg.settings import Resolved, RunSettings, computes
from autoseg.training.accounting import _Ledger

GIGABYTE = 10**9
PIECES = 3 << 24  # below that, freed blocks of the C library's, which nothing else fits into, make a difference
CPU = Resolved(torch.device("cpu"), None)


def test_a_window_that_does_not_fit_takes_no_memory():
    wanted = Need(reading=2, fixed=3, window=5)
    assert wanted.total(8) == 8 and wanted.room(8) == 5
    assert wanted.total(7) == 3 and wanted.room(7) == 4
    assert wanted.total(1) == 3 and wanted.room(1) == 0


def test_masks_count_where_the_label_map_is_corrected(small_plan):
    geometry = Geometry.plain((40, 50, 60), (2.0,) * 3)
    network = small_plan.task().network()
    plain = Model(small_plan.task(), (network,), ("0",), RunSettings(device="cpu"))
    fills = replace(plain, postprocessing=(Correction("organ", fill_holes.Spec()),))
    before, after = plain.need(geometry), fills.need(geometry)
    assert before.least == max(before.reading, before.fixed)
    assert after == replace(before, correcting=before.fixed + 8 * 40 * 50 * 60)
    assert after.total(0) == after.correcting > before.total(0)


@pytest.mark.skipif(resident_bytes() == 0, reason="the system does not tell what a process holds")
@pytest.mark.parametrize("method", [largest_component.Spec(), minimum_size.Spec(1000.0), fill_holes.Spec()])
def test_masks_take_no_more_than_is_counted(method):
    values = np.random.default_rng(0).integers(0, 100, (8, 16, 16))
    label_map = np.kron(values, np.ones((16, 12, 12), np.uint8)).astype(np.uint8)
    labels = ExclusiveLabels({"background": 0, **{f"organ {value}": value for value in range(1, 100)}})
    corrections, geometry = (Correction(None, method),), Geometry.plain(label_map.shape, (1.0,) * 3)
    corrected(label_map[:1], corrections, labels, geometry)  # what is imported stays
    peak = MemoryPeak()
    corrected(label_map, corrections, labels, geometry)
    taken = peak.bytes()
    if taken is None:
        pytest.skip("the system does not tell the peak")
    assert taken < (CORRECTING + 1 + 1) * label_map.size  # the map's own copy; and some room


@pytest.mark.slow
@pytest.mark.skipif(resident_bytes() == 0, reason="the system does not tell what a process holds")
@pytest.mark.parametrize("dtype", [None, *([torch.bfloat16] if computes(torch.bfloat16) else [])])
@pytest.mark.parametrize("patch_size", [(48, 64, 64), (384, 384)])
@pytest.mark.parametrize(
    ("family", "channels", "fields"),
    [
        (plain_unet, 1, {}),
        (residual_unet, 1, {}),
        *((multi_encoder_unet, count, {"fusion": method}) for count in (2, MOST_ENCODERS) for method in METHODS),
    ],
)
def test_a_network_takes_no_more_than_is_counted(small_plan, family, channels, fields, patch_size, dtype):
    run, axes = Resolved(torch.device("cpu"), dtype), len(patch_size)
    strides = ((1,) * axes, *((2,) * axes,) * 2)
    network = family.Spec((16, 32, 64), ((3,) * axes,) * 3, strides, (2, 2, 2), (2, 2), **fields)
    configuration = replace(small_plan.configuration()[1], patch_size=patch_size, network=network)
    built, voxels = network.build(InputSpec.of_image(channels), 3).eval(), int(np.prod(patch_size))
    images = torch.randn(patches_at_once(voxels, 3, run), channels, *patch_size)
    with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=dtype is not None):
        built(images[..., :32])  # what libraries load at their first use is no image's
        peak = MemoryPeak()
        built(images)
        taken = peak.bytes()
    if taken is None:
        pytest.skip("the system does not tell the peak")
    counted = working_bytes(configuration, 3, run)
    least = 0.4 if channels == 1 else 0.25  # as if there were six encoders, where groups of channels are not named
    assert least * counted < taken < counted + PIECES


@pytest.mark.parametrize("patch_size", [(48, 64, 64), (384, 384)])
@pytest.mark.parametrize(
    ("encoders", "fields"),
    [(0, {}), *((count, {"fusion": method}) for count in (2, MOST_ENCODERS) for method in METHODS)],
)
def test_in_half_precision_no_more_is_held_than_is_counted(small_plan, encoders, fields, patch_size):
    """On tensors that have a shape and no data: few processors compute in half precision."""
    axes = len(patch_size)
    strides = ((1,) * axes, *((2,) * axes,) * 2)
    family = multi_encoder_unet if encoders else plain_unet
    groups = {"groups": tuple((channel,) for channel in range(encoders))} if encoders else {}
    network = family.Spec((16, 32, 64), ((3,) * axes,) * 3, strides, (2, 2, 2), (2, 2), **groups, **fields)
    configuration = replace(small_plan.configuration()[1], patch_size=patch_size, network=network)
    run = Resolved(torch.device("cpu"), torch.bfloat16)
    ledger, patches = _Ledger(None), patches_at_once(int(np.prod(patch_size)), 3, run)
    with FakeTensorMode(allow_non_fake_inputs=True), ledger:
        built = network.build(InputSpec.of_image(max(1, encoders)), 3).eval()
        images = torch.empty(patches, max(1, encoders), *patch_size)
        before = ledger.now
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            built(images)
    counted = working_bytes(configuration, 3, run)
    assert 0.2 * counted < ledger.peak - before < counted


def test_the_window_is_as_high_as_a_patch_whatever_the_image(small_plan):
    small, large = (need(Geometry.plain((50, 50, height), (2.0,) * 3), small_plan.task(), CPU) for height in (30, 300))
    assert small.window == large.window == 4 * 2 * 8 * 50 * 50  # the plan turns the last axis to the front
    assert large.reading == 10 * small.reading


def test_further_inputs_are_counted_with_the_image_that_they_are_joined_to(small_plan):
    geometry, task = Geometry.plain((50, 50, 30), (2.0,) * 3), small_plan.task()
    cascade = task_of(small_plan, replace(task.configuration, inputs=(prior.Spec("3d_lowres"),)))
    more = need(geometry, cascade, CPU).fixed - need(geometry, task, CPU).fixed
    assert more == 4 * (1 + 1) * 50 * 50 * 30  # the image again, and the label map


def test_channels_that_the_network_does_not_see_are_read_and_not_kept(small_plan):
    geometry, task = Geometry.plain((50, 50, 30), (2.0,) * 3), small_plan.task()
    normalizers = task.configuration.normalizers * 3
    three = replace(task, channels=("a", "b", "c"), configuration=replace(task.configuration, normalizers=normalizers))
    one = replace(three, configuration=replace(three.configuration, channels=(1,)))
    assert need(geometry, one, CPU).reading == need(geometry, three, CPU).reading
    assert need(geometry, three, CPU).fixed - need(geometry, one, CPU).fixed == 4 * 2 * 50 * 50 * 30


def test_cubic_logits_need_the_whole_height(small_plan):
    configuration = small_plan.configuration()[1]
    cubic = replace(configuration, resampler=replace(configuration.resampler, order_logits=3))
    geometry = Geometry.plain((50, 50, 60), (1.0,) * 3)
    assert need(geometry, task_of(small_plan, cubic), CPU).window == 4 * 2 * 30 * 25 * 25


def test_what_the_process_holds_already_is_not_left_for_predictions():
    held = np.ones(GIGABYTE // 80)
    assert budget(4 * GIGABYTE) < 4 * GIGABYTE - held.nbytes
    assert budget(1000) == 0
    assert budget(None) > 0


def test_a_case_waits_until_another_leaves():
    entered = threading.Event()
    with Gate(10) as gate:
        gate.enter("first", 7)

        def second() -> None:
            gate.enter("second", 4)
            entered.set()

        thread = threading.Thread(target=second)
        thread.start()
        assert not entered.wait(0.05)
        gate.leave("first")
        assert entered.wait(5)
        thread.join()


def test_a_case_larger_than_the_budget_goes_alone():
    entered = []
    with Gate(10) as gate:
        for key, amount in (("huge", 1000), ("next", 10)):
            thread = threading.Thread(
                target=lambda key=key, amount=amount: entered.append((gate.enter(key, amount), key))
            )
            thread.start()
            thread.join(5)
            assert not thread.is_alive() and entered[-1][1] == key
            gate.leave(key)


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_nobody_waits_for_ever_when_the_work_ends(error):
    done = threading.Event()

    def wait(gate: Gate) -> None:
        gate.enter("second", 10)
        done.set()

    try:
        with Gate(10) as gate:
            gate.enter("first", 10)
            threading.Thread(target=wait, args=(gate,)).start()
            if error:
                raise error
    except KeyboardInterrupt:
        pass
    assert done.wait(5)


def test_sums_lie_on_a_gpu_where_they_take_half_of_what_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """What torch holds of the GPU after a training, and does not use, is as good as free."""
    plane, height = (64, 64, 32), 16
    needed = 4 * 16 * 64 * 64 * 32
    told = {"mem_get_info": (needed, 8 * needed), "memory_reserved": 3 * needed, "memory_allocated": 2 * needed}

    def lies_on() -> str:
        for name, value in told.items():
            monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
        return Accumulator(plane, [0, height], height, torch.device("cuda"), Space())._device.type

    assert lies_on() == "cuda"
    told["memory_allocated"] = 2 * needed + 1
    assert lies_on() == "cpu"
