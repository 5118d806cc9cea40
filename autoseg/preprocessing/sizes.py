"""Whether an image can be brought to the network's grid at all, computed from numbers before anything is allocated.

A header in micrometres, or a plan with voxels of a thousandth of a millimetre, would ask for terabytes otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..core.amounts import bytes_text
from ..core.geometry import Box, axis_along
from ..core.limits import GRANTED
from ..core.machine import memory_bytes
from ..data.fingerprint import CaseFingerprint
from ..errors import DatasetError
from ..task import Task
from .spatial import Resample, Shape, numbers, spatial_record

IMAGE = 8  # bytes per voxel and channel: the image in float32 and, while it is resampled, as much again
LABELS = 8  # bytes per voxel: a label map, scores of a label and the best so far
COLLAPSED = 2  # voxels along the longest axis: no network sees anything in an image that has become so small
SOME = 16  # voxels along the longest axis of an image that does not collapse by being small already


def refuse_impossible(resampling: Resample, channels: int, labelled: bool, memory: int | None = None) -> None:
    """Raises DatasetError where the image would not fit into ``memory`` (None: this machine's), or nothing of it would
    be left."""
    old, new = resampling.shape, resampling.new_shape
    needed = math.prod(new) * (IMAGE * channels + LABELS * labelled)
    if memory is None:
        memory = GRANTED if needed <= GRANTED else memory_bytes()
    become = (
        f"{numbers(old)} voxels of {numbers(resampling.spacing)} mm would become {numbers(new)} of "
        f"{numbers(resampling.new_spacing)} mm"
    )
    if new != old and needed > memory:
        raise DatasetError(
            f"{become}, which takes {bytes_text(needed)} of memory where there are {bytes_text(memory)}. Correct the "
            "spacing in the file if it is not that in mm; otherwise plan with larger voxels (--spacing)"
        )
    resampled = [axis for axis in range(3) if resampling.spacing[axis] != resampling.new_spacing[axis]]
    if resampled and max(old[axis] for axis in resampled) >= SOME and max(new[axis] for axis in resampled) <= COLLAPSED:
        raise DatasetError(
            f"{become}: nothing would be left of the image. Correct the spacing in the file if it is not that in mm"
        )


def impossible_cases(cases: Mapping[str, CaseFingerprint], task: Task, memory: int | None = None) -> dict[str, str]:
    """Case to what is wrong with it, for all that cannot be prepared for ``task``."""
    wrong = {}
    for key, case in cases.items():
        order = _order(task, case)
        z, y, x = (case.cropped_shape[axis] for axis in order)
        try:
            record = spatial_record(case.shape, case.spacing, order, Box.whole((z, y, x)), task.configuration.spacing)
            refuse_impossible(record.split()[1], len(task.channels), labelled=True, memory=memory)
        except DatasetError as error:
            wrong[key] = str(error)
    return wrong


def _order(task: Task, case: CaseFingerprint) -> Shape:
    """As ``transpose`` finds it in the file."""
    if task.orientation is None or case.orientation is None:
        return task.axis_order
    turned = [axis_along(case.orientation, task.orientation[2 - axis]) for axis in range(3)]
    first, second, third = (turned[axis] for axis in task.axis_order)
    return first, second, third
