"""Every network keeps the contract, in slices and in volumes, in the smallest size of its ladder and tiny patches.

Networks are found by their files: a new one is tested without a line here. What a network cannot, its Spec says:

* ``ladder`` raises ValueError, with the reason, where there is no network: for slices, for volumes, for a patch that is
  too small. It is asked for patches of ``EDGES`` voxels, the last axis as long or twice as long; the first is used.
* ``check_inputs`` raises ValueError for images that it is not for: of one channel, for example. Two are then given.
* What is built may have ``alternatives``, lists of weights of which a batch may use none of one list.
* Where a package is not installed that it needs, it raises MissingPackageError, and its tests are skipped.

A memory that is counted 10 % wrong, or a weight that nothing reaches, is a defect of the network and not excused.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise, product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from one_step import THREADS, allocated, begun
from safetensors.torch import save
from short_training import train
from torch import Tensor, nn

from autoseg.bundle.manifest import Manifest
from autoseg.bundle.write import write_bundle
from autoseg.configuration import NETWORKS
from autoseg.core.inputs import InputSpec
from autoseg.errors import MissingPackageError, StoppedError
from autoseg.inference.model import Model
from autoseg.inference.sliding_window import SlidingWindow
from autoseg.parts.contracts import Network
from autoseg.plan import Plan
from autoseg.preprocessing.locations import Locations
from autoseg.run_folder import RunFolder
from autoseg.settings import Resolved, RunSettings, computes
from autoseg.training.accounting import IN_UPDATE, step_memory
from autoseg.training.cases import CaseInMemory

EDGES = (16, 32, 64, 128)  # voxels along the axes of the patch that is asked for
ENOUGH_VOXELS = {2: 48**2, 3: 32**3}  # of a patch whose feature maps take more than the weights
HEADS = 3
CPU = torch.device("cpu")
PRECISIONS = ["float32", *(["bfloat16"] if computes(torch.bfloat16) else [])]
LIBRARIES = ("torch", "monai", "einops")


def smallest(name: str, dimensions: int) -> tuple[Network, tuple[int, ...]] | None:
    """The first of the ladder and its patch; None where there is none of so many dimensions."""
    for edge, last in product(EDGES, (1, 2)):
        asked = (*(edge,) * (dimensions - 1), last * edge)
        with suppress(ValueError):
            network = NETWORKS.load(name).ladder((1.0,) * dimensions, asked)[0]
            return network, tuple(-(-edge // step) * step for edge, step in zip(asked, network.divisor))
    return None


CASES = [(name, dimensions) for name in NETWORKS for dimensions in (2, 3) if smallest(name, dimensions)]
every_network = pytest.mark.parametrize(("name", "dimensions"), CASES, ids=[f"{n}-{d}d" for n, d in CASES])


def given(name: str, dimensions: int) -> tuple[Network, tuple[int, ...], int]:
    """The network, its patch and how many channels its images have."""
    found = smallest(name, dimensions)
    assert found is not None
    network, patch = found
    for channels in (1, 2):
        try:
            network.check_inputs(InputSpec.of_image(channels))
        except MissingPackageError:
            raise
        except ValueError:
            continue
        return network, patch, channels
    raise AssertionError(f"{name} takes images neither of one channel nor of two")


def planned(plan: Plan, name: str, dimensions: int, deep_supervision: float = 0.5) -> Plan:
    """``plan`` with this network."""
    network, patch, channels = given(name, dimensions)
    before = plan.configuration()[1]
    changed = replace(
        before,
        network=network,
        patch_size=patch,
        spacing=(2.0, 2.0, 2.0) if dimensions == 3 else (None, 2.0, 2.0),
        normalizers=before.normalizers * channels,
        training=replace(before.training, deep_supervision=deep_supervision),
    )
    names = ("MR", "CT")[:channels]
    return replace(plan, channels=names, configurations={plan.default: changed})


def built(name: str, dimensions: int, heads: int = HEADS) -> tuple[nn.Module, Tensor]:
    """The network with fresh weights, and a batch of one."""
    torch.manual_seed(0)
    network, patch, channels = given(name, dimensions)
    return network.build(InputSpec.of_image(channels), heads), torch.randn(1, channels, *patch)


def checked(scales: Any, images: Tensor) -> list[Tensor]:
    """Logits, the finest first and of the patch's shape."""
    assert isinstance(scales, list | tuple)
    assert scales[0].shape == (1, HEADS, *images.shape[2:])
    assert all(scale.shape[:2] == (1, HEADS) and torch.isfinite(scale).all() for scale in scales)
    edges = [scale.shape[2:] for scale in scales]
    assert all(fine >= coarse for pair in pairwise(edges) for fine, coarse in zip(*pair))
    return [*scales]


@pytest.mark.parametrize("name", NETWORKS)
def test_there_is_a_network_for_slices_or_for_volumes(name: str) -> None:
    assert any((name, dimensions) in CASES for dimensions in (2, 3)), f"ladder refuses patches of {EDGES} voxels"


@pytest.mark.slow
@every_network
def test_its_dropout_leaves_out_other_maps_each_time_it_trains(name: str, dimensions: int) -> None:
    network, patch, channels = given(name, dimensions)
    if not hasattr(network, "dropout"):
        pytest.skip(f"{name} has no dropout")
    one = network.with_fields(dropout=0.5).build(InputSpec.of_image(channels), HEADS)
    images = torch.randn(1, channels, *patch)
    with torch.no_grad():
        first, again = (one.train()(images)[0] for _ in range(2))
        assert not torch.equal(first, again)
        first, again = (one.eval()(images)[0] for _ in range(2))
        assert torch.equal(first, again)


@pytest.mark.slow
@every_network
def test_it_gives_logits_of_its_patch_and_gradients_to_every_weight(name: str, dimensions: int) -> None:
    """In every precision that the processor computes, of a batch of one."""
    network, images = built(name, dimensions)
    for weight in network.parameters():
        if not weight.any():  # what a network begins with at 0 hides what lies behind
            nn.init.constant_(weight, 0.1)
    excused = {id(weight) for some in getattr(network, "alternatives", ()) for weight in some}
    for precision in PRECISIONS:
        network.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            scales = checked(network(images), images)
        torch.stack([(scale.float() * torch.randn_like(scale)).mean() for scale in scales]).sum().backward()
        for title, weight in network.named_parameters():
            assert weight.grad is not None or id(weight) in excused, f"nothing reaches {title}"
            assert weight.grad is None or torch.isfinite(weight.grad).all(), title
        reached = [weight for weight in network.parameters() if weight.grad is not None and weight.grad.any()]
        kernels = [weight for weight in network.parameters() if weight.dim() > 1 and id(weight) not in excused]
        lost = {id(weight) for weight in kernels} - {id(weight) for weight in reached}
        assert not lost, [title for title, weight in network.named_parameters() if id(weight) in lost]


@every_network
def test_an_axis_of_one_voxel_is_computed_or_refused_with_the_reason(name: str, dimensions: int) -> None:
    _, patch, channels = given(name, dimensions)
    asked = (1, *patch[1:])
    try:
        network = NETWORKS.load(name).ladder((5.0, *(1.0,) * (dimensions - 1)), asked)[0]
    except ValueError as error:
        assert len(str(error)) > 10
        return
    padded = tuple(-(-edge // step) * step for edge, step in zip(asked, network.divisor))
    images = torch.randn(1, channels, *padded)
    module = network.build(InputSpec.of_image(channels), HEADS)
    checked(module(images), images)


@pytest.mark.slow
@every_network
def test_a_bundle_of_it_predicts_by_window_what_the_network_says_of_the_whole(
    name: str, dimensions: int, small_plan: Plan, tmp_path: Path
) -> None:
    plan = planned(small_plan, name, dimensions)
    task, channels = plan.task(), len(plan.channels)
    torch.manual_seed(0)
    network, patch = task.network().eval(), task.configuration.patch_size
    weights = {title: value.contiguous() for title, value in network.state_dict().items()}
    stored = {plan.default: {"0": save(weights)}}
    write_bundle(tmp_path / "model.zip", Manifest("Any", {plan.default: ("0",)}, {plan.default: 1.0}), plan, stored)
    model = Model.read(tmp_path / "model.zip", settings=RunSettings(device="cpu", precision="float32", threads=1))
    assert isinstance(model, Model)
    again = model.networks[0]
    assert all(torch.equal(value, weights[title]) for title, value in again.state_dict().items())
    image = np.random.default_rng(0).normal(size=(channels, *((1,) * (3 - dimensions)), *patch)).astype(np.float32)
    seen = torch.from_numpy(image if dimensions == 3 else image[:, 0])[None]
    with torch.inference_mode():
        whole = network(seen)[0][0]
        run = Resolved(CPU, None)
        window = SlidingWindow(
            [again], image, patch, heads=task.labels.heads, batch_size=1, mirror_axes=(), run=run, whole=True
        )
        logits = window.all() if dimensions == 3 else window.all()[:, 0]
    # Channels lie last in memory in a model that was read: other kernels of torch, other rounding.
    torch.testing.assert_close(logits, whole, rtol=1e-3, atol=1e-3 * whole.std().item())


@every_network
@pytest.mark.slow
def test_its_memory_is_what_torch_allocates(name: str, dimensions: int, small_plan: Plan) -> None:
    """Of slices in float32, of volumes in bfloat16. Small patches are enlarged: there is more than weights to count."""
    if not computes(torch.bfloat16):
        pytest.skip("oneDNN's needs were measured with AVX-512 and bfloat16 instructions only")
    before = planned(small_plan, name, dimensions)
    configuration = before.configuration()[1]
    enlarged = configuration.patch_size
    while prod(enlarged) < ENOUGH_VOXELS[dimensions]:
        enlarged = tuple(2 * edge for edge in enlarged)
    plan = replace(before, configurations={before.default: replace(configuration, patch_size=enlarged)})
    _, state, step, batch = begun(plan, "float32" if dimensions == 2 else "bfloat16")
    counted = step_memory(plan.task(), step.resolved, THREADS)
    # Where weights are most of it, an update counts: for it there is room that not every optimizer needs.
    update = counted.optimizer + IN_UPDATE * counted.weights
    assert counted.peak == pytest.approx(max(update, allocated(state, step, batch, counted)), rel=0.1)


def cases(channels: int, shape: tuple[int, ...]) -> dict[str, CaseInMemory]:
    """A bright box in noise."""
    random, found = np.random.default_rng(0), {}
    for number in range(2):
        labels = np.zeros(shape, np.uint8)
        labels[:, 4:9, 3 + number : 9] = 1
        image = (random.standard_normal((channels, *shape)) + 2 * labels).astype(np.float16)
        found[f"case{number}"] = CaseInMemory(image, labels, Locations.of({1: np.argwhere(labels)}))
    return found


@every_network
@pytest.mark.slow
def test_a_training_that_was_stopped_goes_on_to_the_same_weights(
    name: str, dimensions: int, small_plan: Plan, tmp_path: Path
) -> None:
    plan = planned(small_plan, name, dimensions)
    patch = plan.task().configuration.patch_size
    given_ = cases(len(plan.channels), patch if dimensions == 3 else (3, *patch))
    whole = train(plan, RunFolder(tmp_path / "whole"), 2, given_).network.state_dict()
    with pytest.raises(StoppedError):
        train(plan, RunFolder(tmp_path / "parts"), 2, given_, stop=1)
    parts = train(plan, RunFolder(tmp_path / "parts"), 2, given_).network.state_dict()
    assert all(torch.equal(value, parts[title]) for title, value in whole.items())


@pytest.mark.slow
@every_network
def test_it_learns_from_its_finest_logits_alone(name: str, dimensions: int, small_plan: Plan) -> None:
    """The update of one step is finite and moves weights; coarser logits have no part in the loss then."""
    plan = planned(small_plan, name, dimensions, deep_supervision=0.0)
    _, state, step, batch = begun(plan, "float32")
    before = [weight.detach().clone() for weight in state.network.parameters()]
    assert step(state, step.augmented(batch, 0), 0.0) is not None
    assert any(not torch.equal(old, new) for old, new in zip(before, state.network.parameters()))
    assert all(torch.isfinite(weight).all() for weight in state.network.parameters())


def test_a_network_that_is_only_named_loads_no_library() -> None:
    """A draft of a plan needs its ladder, and neither torch nor a library of networks."""
    code = (
        "import sys\nfrom contextlib import suppress\nfrom autoseg.configuration import NETWORKS\n"
        f"for name in NETWORKS:\n    for axes in (2, 3):\n        for edge in {EDGES}:\n"
        "            with suppress(ValueError):\n"
        "                print(len(NETWORKS.load(name).ladder((1.0,) * axes, (edge,) * axes)[0].features) > 0)\n"
        f"print([name for name in {LIBRARIES} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
