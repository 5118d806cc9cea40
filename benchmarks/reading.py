"""What is read of prepared cases for a batch: bytes, time, and how long every other thread stood still meanwhile.

python benchmarks/reading.py

``whole`` reads the largest region that an augmentation may need of every patch, a batch by each thread, with Blosc2's
Python package, as autoseg once did; ``drawn`` is what it does. Made-up cases, in the system's cache but not in the
process's. Bytes are the mean of 1000 batches, times that of fewer. The longest stand-still is that of a thread that
asks to run every half millisecond; of a busy machine only bytes and processor time say much.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter
from torch import Tensor

from autoseg.configuration import Configuration, TrainingRules
from autoseg.core.geometry import Box, Geometry
from autoseg.core.labels import ExclusiveLabels
from autoseg.core.parallel import ordered_map
from autoseg.parts.augmentations import standard
from autoseg.parts.losses import dice_ce
from autoseg.parts.networks import plain_unet
from autoseg.parts.normalizers import none
from autoseg.parts.optimizers import sgd
from autoseg.parts.resamplers import spline
from autoseg.parts.schedules import polynomial
from autoseg.plan import Plan
from autoseg.preprocessing import arrays
from autoseg.preprocessing.locations import class_locations
from autoseg.preprocessing.prepare import PreparedCase
from autoseg.preprocessing.spatial import spatial_record
from autoseg.preprocessing.store import CaseStore, StoredCase
from autoseg.training.batches import Batch, PatchSampler, batches, training_sampler

CASES, COUNTED = 4, 1000
SETTINGS = (  # channels, voxels of a case, patch, batch
    (4, (140, 176, 144), (128, 128, 128), 2),
    (1, (160, 320, 320), (96, 160, 160), 2),
    (1, (12, 256, 216), (10, 256, 224), 3),
)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--batches", type=int, default=40)
    arguments.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    options = arguments.parse_args()
    rows = []
    for setting in SETTINGS:
        with tempfile.TemporaryDirectory() as folder:
            rows += measured(Path(folder), *setting, options.batches, options.threads)
    result = {
        "command": " ".join(["python", *sys.argv]),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "rows": rows,
    }
    sys.stdout.write(json.dumps(result, indent=2) + "\n")


def measured(
    folder: Path,
    channels: int,
    shape: tuple[int, ...],
    patch: tuple[int, ...],
    batch: int,
    count: int,
    threads: list[int],
) -> list[dict[str, Any]]:
    plan = plan_of(channels, shape, patch, batch)
    cases = made_up(folder, plan, channels, shape, patch)
    configuration = plan.configuration()[1]
    drawn = training_sampler(cases, sorted(cases), plan.task(), 0)
    drawn = replace(drawn, cases=cases)  # each from its file every time
    largest = configuration.augmentation.loaded_shape(patch)
    whole = replace(drawn, shapes=lambda number: [largest] * batch)
    with_lock_held, library = (lambda: None), arrays._library
    rows = []
    for name, sampler in (("whole", whole), ("drawn", drawn)):
        arrays._library = with_lock_held if name == "whole" else library
        for workers in threads:
            source = by_batch(sampler, workers) if name == "whole" else batches(sampler, 0, workers, ahead=2)
            rows.append({"patch": patch, "batch": batch, "channels": channels, "way": name, "threads": workers})
            rows[-1] |= run(source, count, sampler)
    arrays._library = library
    return rows


def by_batch(sampler: PatchSampler, workers: int) -> Iterator[Batch]:
    yield from ordered_map(sampler.batch, itertools.count(), workers, 2)


def run(source: Any, count: int, sampler: PatchSampler) -> dict[str, float]:
    """Times of ``count`` batches."""
    ended, longest = threading.Event(), [0.0]

    def watch() -> None:
        last = time.perf_counter()
        while not ended.is_set():
            time.sleep(0.0005)
            now = time.perf_counter()
            longest[0], last = max(longest[0], now - last), now

    with closing(source):
        first = next(source)
        watcher = threading.Thread(target=watch)
        began, ran = time.perf_counter(), time.process_time()
        watcher.start()
        for _ in itertools.islice(source, count):
            pass
        seconds, processor = time.perf_counter() - began, time.process_time() - ran
        ended.set()
        watcher.join()
    of_voxel = sum(each.nbytes for each in [*first.images, *first.targets]) / sum(map(Tensor.numel, first.targets))
    voxels = sum(prod(patch.shape) for number in range(COUNTED) for patch in sampler.patches(number)) / COUNTED
    return {
        "megabytes_per_batch": round(of_voxel * voxels / 1e6, 2),
        "seconds_per_batch": round(seconds / count, 4),
        "processor_seconds_per_batch": round(processor / count, 4),
        "longest_stand_still_ms": round(1e3 * longest[0], 1),
    }


def made_up(
    folder: Path, plan: Plan, channels: int, shape: tuple[int, ...], patch: tuple[int, ...]
) -> dict[str, StoredCase]:
    """Smooth noise around a ball of one label."""
    store = CaseStore(folder, patch)
    record = spatial_record(shape, (1.0, 1.0, 1.0), (0, 1, 2), Box.whole(shape), (None, None, None))
    geometry = Geometry(shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
    centre = np.array(shape).reshape(3, 1, 1, 1) / 2
    labels = (((np.indices(shape) - centre) ** 2).sum(0) < (min(shape) / 3) ** 2).astype(np.uint8)
    found = class_locations(labels, plan.labels)
    for number in range(CASES):
        noise = np.random.default_rng(number).standard_normal((channels, *shape), np.float32)
        image = np.stack([gaussian_filter(each, 1.0) for each in noise])
        store.write(f"case{number}", PreparedCase(image, labels, record, geometry, found), "made up")
    return {key: store.open(key) for key in store.keys()}


def plan_of(channels: int, shape: tuple[int, ...], patch: tuple[int, ...], batch: int) -> Plan:
    network = plain_unet.Spec((4, 8), ((3, 3, 3),) * 2, ((1, 1, 1), (2, 2, 2)), (1, 1), (1,))
    configuration = Configuration(
        spacing=(1.0, 1.0, 1.0),
        median_shape=shape,
        patch_size=patch,
        batch_size=batch,
        normalizers=(none.Spec(),) * channels,
        resampler=spline.Spec(),
        network=network,
        loss=dice_ce.Spec(),
        augmentation=standard.Spec(dummy_2d=3 * patch[0] < patch[1], rotation_degrees=180.0 if patch[0] < 20 else 30.0),
        optimizer=sgd.Spec(),
        schedule=polynomial.Spec(),
        training=TrainingRules(epochs=1, iterations_per_epoch=1),
    )
    return Plan(
        dataset="Dataset900_Reading",
        planner="made up",
        axis_order=(0, 1, 2),
        channels=tuple(f"channel {number}" for number in range(channels)),
        labels=ExclusiveLabels({"background": 0, "ball": 1}),
        file_ending=".nii.gz",
        mirror_axes=(0, 1, 2),
        configurations={"3d_fullres": configuration},
        default="3d_fullres",
    )


if __name__ == "__main__":
    main()
