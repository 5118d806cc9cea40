"""The functions for notebooks: whatever is handed to them, what comes back is a result or one of autoseg's errors."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autoseg
from autoseg.errors import AutosegError, UsageError
from autoseg.inference.options import PredictOptions

NO_PATHS: list[Any] = [None, 3, "", " ", "a\0b", b"x", ["x"], {}]
NO_MINUTES: list[Any] = [-1, 0, math.nan, math.inf, "5", True, [1]]


@pytest.mark.parametrize("path", [*NO_PATHS, "/dev/zero", "/nowhere/at/all", "m.zip"], ids=repr)
def test_what_is_no_model_is_refused(path: Any, tmp_path: Path) -> None:
    with pytest.raises(AutosegError):
        autoseg.Model.read(path)
    with pytest.raises(AutosegError):
        autoseg.predict(path, tmp_path, tmp_path / "out")


@pytest.mark.parametrize("path", NO_PATHS, ids=repr)
def test_what_is_no_path_is_refused(path: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        autoseg.plan_and_preprocess(path, tmp_path)
    calls = (autoseg.check, autoseg.select, autoseg.newest_model, lambda name, root: autoseg.train(name, 0, root))
    for call in (autoseg.plan_and_preprocess, *calls):
        if path is not None:  # the workspace that commands take
            with pytest.raises(UsageError):
                call(str(tmp_path), path)
    for call in calls:
        if path is None and call is autoseg.newest_model:  # of any dataset
            continue
        with pytest.raises(UsageError):
            call(path, tmp_path)


@pytest.mark.parametrize("minutes", NO_MINUTES, ids=repr)
def test_what_is_no_time_is_refused(minutes: Any, tmp_path: Path) -> None:
    (tmp_path / "D").mkdir()
    with pytest.raises(UsageError, match="minutes must be a number above 0"):
        autoseg.plan_and_preprocess(tmp_path / "D", tmp_path / "workspace", minutes=minutes)
    with pytest.raises(UsageError, match="minutes must be a number above 0"):
        autoseg.train("D", 0, tmp_path / "workspace", minutes=minutes)


@pytest.mark.parametrize(
    "wish",
    [
        {"spacing": "abc"}, {"spacing": (1, 1)}, {"spacing": (1, "x", 1)}, {"spacing": 3}, {"spacing": (0, 1, 1)},
        {"mirror": "zy"}, {"mirror": (3,)}, {"mirror": (True,)}, {"slices": "three"}, {"slices": 2.5}, {"slices": 2},
        {"memory": 8}, {"memory": "much"}, {"plans": 3}, {"minutes": None, "memory": ()},
        {"network": 3}, {"require": 3}, {"network": " "}, {"network": "plain_unet", "planner": "tiny"},
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_wish_is_refused(wish: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "D").mkdir()
    with pytest.raises(UsageError):
        autoseg.plan_and_preprocess(tmp_path / "D", tmp_path / "workspace", **wish)


@pytest.mark.parametrize("step", ["half", None, math.nan, 0, 2, [0.5]], ids=repr)
def test_what_is_no_step_is_refused(step: Any) -> None:
    with pytest.raises(UsageError, match="step must be above 0"):
        PredictOptions(step=step)


IMAGE = np.zeros((4, 8, 8), np.float32)


@pytest.mark.parametrize(
    ("image", "given"),
    [
        (IMAGE, {"spacing": "abc"}),
        (IMAGE, {"spacing": ("a", "b", "c")}),
        (IMAGE, {"spacing": 1}),
        (IMAGE, {"spacing": (1, 1, math.nan)}),
        (IMAGE, {"spacing": (1, 1, None)}),
        (IMAGE, {"affine": np.full((4, 4), "x")}),
        (IMAGE, {"affine": np.zeros((4, 4))}),
        (IMAGE, {}),
        (np.broadcast_to(np.float32(0), (1 << 20,) * 3), {"spacing": (1, 1, 1)}),
        (None, {}),
        ([], {}),
    ],
    ids=lambda value: "x".join(map(str, value.shape)) if isinstance(value, np.ndarray) else repr(value)[:60],
)
def test_what_is_no_image_is_refused(small_plan, image: Any, given: dict[str, Any]) -> None:
    model = autoseg.Model(small_plan.task(), (), ("0",))
    with pytest.raises(AutosegError):
        model.predict(image, **given)


@pytest.mark.parametrize(
    "wish",
    [{"metrics": 3}, {"metrics": [3]}, {"metrics": [" "]}, {"tolerance": "1"}, {"tolerance": -1},
     {"tolerance": math.nan}, {"lesion_dilation": -1}, {"lesion_dilation": 1e4}, {"lesion_minimum": math.inf},
     {"lesion_minimum": None}],
    ids=repr,
)  # fmt: skip
def test_what_cannot_be_measured_is_refused(wish: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(wish))} must be"):
        autoseg.evaluate(tmp_path, tmp_path, **wish)
