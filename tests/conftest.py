"""A plan small enough to run in milliseconds, for tests that need a model but not its skill."""

from __future__ import annotations

import os
from collections.abc import Generator

import hypothesis
import pytest

from autoseg.core.environment import OWN_THREADS, SHORT_WAITS

os.environ.update(SHORT_WAITS | OWN_THREADS)  # before torch is loaded, as the command line does
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"  # there is a worker for every core

from autoseg.configuration import Configuration, TrainingRules
from autoseg.core.labels import ExclusiveLabels
from autoseg.errors import MissingPackageError
from autoseg.parts.augmentations import none
from autoseg.parts.losses import dice_ce
from autoseg.parts.networks import plain_unet
from autoseg.parts.normalizers import none as untouched
from autoseg.parts.optimizers import sgd
from autoseg.parts.resamplers import spline
from autoseg.parts.schedules import polynomial
from autoseg.plan import Plan

hypothesis.settings.register_profile("autoseg", deadline=None)  # how long an example takes is the machine's affair
hypothesis.settings.load_profile("autoseg")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run what is marked long: hundreds of injected faults")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--long"):
        skip = pytest.mark.skip(reason="takes long; `make faults` runs it")
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(skip)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """A part that needs a package that is not installed cannot be tested here, which is said."""
    try:
        return (yield)
    except MissingPackageError as error:
        pytest.skip(str(error))


@pytest.fixture
def small_plan() -> Plan:
    """One channel, two labels (values 0 and 7), coarsest axis last in the file, 2 mm voxels, 8-voxel patches."""
    network = plain_unet.Spec(
        features=(4, 8),
        kernels=((3, 3, 3),) * 2,
        strides=((1, 1, 1), (2, 2, 2)),
        blocks_encoder=(1, 1),
        blocks_decoder=(1,),
    )
    configuration = Configuration(
        spacing=(2.0, 2.0, 2.0),
        median_shape=(12, 12, 12),
        patch_size=(8, 8, 8),
        batch_size=2,
        normalizers=(untouched.Spec(),),
        resampler=spline.Spec(),
        network=network,
        loss=dice_ce.Spec(batch_dice=False),
        augmentation=none.Spec(),
        optimizer=sgd.Spec(),
        schedule=polynomial.Spec(),
        training=TrainingRules(epochs=1, iterations_per_epoch=1),
    )
    return Plan(
        dataset="Dataset900_Small",
        planner="tiny",
        axis_order=(2, 0, 1),
        channels=("MR",),
        labels=ExclusiveLabels({"background": 0, "organ": 7}),
        file_ending=".nii.gz",
        mirror_axes=(0, 1, 2),
        configurations={"3d_fullres": configuration},
        default="3d_fullres",
    )
