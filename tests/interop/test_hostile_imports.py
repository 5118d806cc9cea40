"""Whatever a stranger's nnU-Net model holds: it is imported, or refused in a sentence, soon and in little memory."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hostile_models import (
    PICKLES,
    POSTPROCESSING,
    Files,
    archive_of,
    changed_checkpoints,
    changed_json,
    changed_postprocessing,
    checkpoint_name,
    folder_of,
    replaced,
    sound,
    with_checkpoint,
    with_pickle,
)

from autoseg.cli import main
from autoseg.core.labels import ExclusiveLabels
from autoseg.errors import DatasetError, ModelError, RecordError
from autoseg.interop.nnunet_configurations import read_plan_of
from autoseg.interop.nnunet_model import import_nnunet

MODEL = sound("turned")
SETTINGS = ("configurations", "turned")
NETWORK = (*SETTINGS, "architecture", "arch_kwargs")
ALLOWED = 450_000_000  # bytes of address space beyond what the process has
LONGEST = 2000  # characters of a message
NUMPY_1 = np.lib.NumpyVersion(np.__version__) < "2.0.0"
needs_numpy_2 = pytest.mark.skipif(NUMPY_1, reason="it changes a model of numpy 2")


@contextmanager
def little_memory() -> Iterator[None]:
    """Whatever asks for more gets a MemoryError, which no import may end with."""
    if not sys.platform.startswith("linux"):
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ALLOWED, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def said_of(source: Path, folder: Path) -> str:
    """What is said about the model, nothing where it was imported; either way only the bundle is left behind."""
    (folder / "out").mkdir()
    target = folder / "out" / "bundle"
    try:
        with little_memory():
            import_nnunet(source, target)
        said = ""
    except (ModelError, RecordError, DatasetError) as error:
        said = str(error)
        assert str(folder) in said
        assert len(said) < LONGEST
        assert said.isprintable()
    assert sorted(path.name for path in target.parent.iterdir()) == ([] if said else ["bundle"])
    shutil.rmtree(folder / "out")
    return said


def refused(files: Files, folder: Path) -> str:
    said = said_of(folder_of(files, folder / "model"), folder)
    assert said
    return said


@pytest.fixture(scope="module", autouse=True)
def warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What libraries load once does not count."""
    folder = tmp_path_factory.mktemp("warm")
    import_nnunet(archive_of(MODEL, folder / "model.zip"), folder / "bundle")


@pytest.mark.slow
@pytest.mark.parametrize("name", PICKLES)
def test_no_pickle_takes_long_or_much(name: str, tmp_path: Path) -> None:
    assert "checkpoint_final.pth" in refused(with_pickle(MODEL, PICKLES[name]), tmp_path)


@pytest.mark.parametrize("name", POSTPROCESSING)
def test_no_postprocessing_takes_long_or_much(name: str, tmp_path: Path) -> None:
    path = next(path for path in MODEL if path.endswith("postprocessing.pkl"))
    assert "postprocessing.pkl" in refused(MODEL | {path: POSTPROCESSING[name]}, tmp_path)


@pytest.mark.slow
@needs_numpy_2
def test_every_other_thing_wrong_with_a_checkpoint_is_refused(tmp_path: Path) -> None:
    harmless = ("version", "patched", "end of directory", "entries: flags", "entries: method")
    for title, files in changed_checkpoints(MODEL):
        if title.startswith("pickle: "):
            continue
        said = said_of(archive_of(files, tmp_path / "model.zip"), tmp_path)
        assert said or any(word in title for word in harmless), title


def hostile(seed: int) -> Iterator[tuple[str, Files]]:
    """A few of all the models with one value of their JSON replaced."""
    draw = random.Random(seed)
    for name in ("turned", "cropped", "regions_2d"):
        files = sound(name)
        for file in ("plans.json", "dataset.json"):
            every = list(changed_json(files, file))
            yield from draw.sample(every, 5)
    yield from draw.sample(list(changed_postprocessing(MODEL)), 5)


@pytest.mark.slow
def test_a_value_replaced_is_a_message_or_a_model(tmp_path: Path) -> None:
    for number, (title, files) in enumerate(hostile(seed=0)):
        pack: Callable[[Files, Path], Path] = folder_of if number % 2 else archive_of
        try:
            said_of(pack(files, tmp_path / f"{number}.zip"), tmp_path)
        except BaseException:
            sys.stderr.write(f"{title}\n")
            raise


def edited(path: tuple[Any, ...], value: Any, name: str = "plans.json") -> Files:
    described = json.loads(MODEL[name])
    return MODEL | {name: json.dumps(replaced(described, path, value)).encode()}


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("transpose_forward",), [], "transpose_forward must name the axes"),
        (("transpose_forward",), [0, 0, 1], "transpose_forward must name the axes"),
        (("configurations",), {"x": [1]}, "configurations.'x' must be an object"),
        (("configurations",), {}, "there is no configuration 'turned'"),
        (("configurations", "../../x"), {}, "cannot be the name of a file"),
        ((*SETTINGS, "inherits_from"), ["turned"], "inherits from"),
        ((*SETTINGS, "inherits_from"), "turned", "a circle"),
        ((*SETTINGS, "previous_stage"), 5, "previous_stage must be a str"),
        ((*SETTINGS, "previous_stage"), "../..", "cannot be the name of a file"),
        ((*SETTINGS, "patch_size"), [4_000_000] * 3, "patch_size must be a whole number"),
        ((*SETTINGS, "patch_size"), [16], "patch_size must have 2 or 3 entries"),
        ((*SETTINGS, "spacing"), [-1, 1, 1], "spacing must be a number from"),
        ((*SETTINGS, "spacing"), ["1", "1", "1"], "spacing must be a number from"),
        ((*SETTINGS, "batch_size"), True, "batch_size must be a int"),
        ((*NETWORK, "n_stages"), 1_000_000, "n_stages must be a whole number"),
        ((*NETWORK, "features_per_stage"), 10**7, "features_per_stage must be a whole number"),
        ((*NETWORK, "features_per_stage"), ["4", "8", "8"], "features_per_stage must be a whole number"),
        ((*NETWORK, "kernel_sizes"), [[3, 3, 3]] * 5000, "kernel_sizes has 5000 entries"),
        ((*NETWORK, "n_conv_per_stage"), 10**6, "n_conv_per_stage must be a whole number"),
        ((*SETTINGS, "architecture", "network_class_name"), "os.system", "the network 'os.system' is not known"),
    ],
)
def test_plans_that_cannot_be_right_are_named_by_their_field(
    path: tuple[Any, ...], value: Any, said: str, tmp_path: Path
) -> None:
    found = refused(edited(path, value), tmp_path)
    assert "plans.json" in found
    assert said in found


def test_a_network_is_compared_before_a_number_is_read(tmp_path: Path) -> None:
    """Four hundred times the features: gigabytes, had it been built."""
    assert "has the shape" in refused(edited((*NETWORK, "features_per_stage"), [1600, 3200, 3200]), tmp_path)


@pytest.mark.slow
@needs_numpy_2
@pytest.mark.parametrize("shared", [True, False])
def test_weights_that_show_a_part_of_their_numbers_take_no_more_than_they_show(shared: bool, tmp_path: Path) -> None:
    """torch saves the numbers of a view whole; 50 views of 16 MB are a gigabyte."""
    large = torch.zeros(1 << 22)

    def views(values: dict[str, Any]) -> dict[str, Any]:
        weights = values["network_weights"]
        return values | {
            "network_weights": {
                name: (large if shared else large.clone())[: weight.numel()].copy_(weight.flatten()).view(weight.shape)
                for name, weight in weights.items()
            }
        }

    assert not said_of(folder_of(with_checkpoint(MODEL, views), tmp_path / "model"), tmp_path)


@needs_numpy_2
@pytest.mark.parametrize("value", [float("nan"), float("-inf"), 1e300])
def test_weights_that_are_no_numbers_are_refused_when_they_are_imported(value: float, tmp_path: Path) -> None:
    """1e300 is infinity in float32. Whoever predicts with it would hear of it only then."""

    def broken(values: dict[str, Any]) -> dict[str, Any]:
        last = list(values["network_weights"])[-1]
        weight = values["network_weights"][last].double()
        weight.view(-1)[-1] = value
        return values | {"network_weights": values["network_weights"] | {last: weight}}

    said = refused(with_checkpoint(MODEL, broken), tmp_path)
    assert "fold_0/checkpoint_final.pth holds NaN or infinity in " in said


def test_plans_too_large_are_not_read(tmp_path: Path) -> None:
    assert "cannot be right" in refused(MODEL | {"plans.json": b"[" + b"[]," * 3_000_000 + b"[]]"}, tmp_path)
    assert "nested" in refused(MODEL | {"plans.json": b"[" * 100_000 + b"]" * 100_000}, tmp_path / "again")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
@pytest.mark.parametrize("name", ["plans.json", "dataset.json", checkpoint_name(MODEL)])
@pytest.mark.parametrize("kind", ["pipe", "folder", "link to nothing", "link to itself", "link to a device"])
def test_something_else_in_the_place_of_a_file_is_named(name: str, kind: str, tmp_path: Path) -> None:
    folder = folder_of({other: MODEL[other] for other in MODEL if "fold_1" not in other}, tmp_path / "model")
    path = folder / name
    path.unlink()
    {
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "link to nothing": lambda: path.symlink_to(tmp_path / "nothing"),
        "link to itself": lambda: path.symlink_to(path),
        "link to a device": lambda: path.symlink_to("/dev/zero"),
    }[kind]()
    assert said_of(folder, tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
def test_a_pipe_is_no_model(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.zip")
    assert "neither a folder nor a file" in said_of(tmp_path / "model.zip", tmp_path)


@needs_numpy_2
def test_two_models_that_each_come_after_the_other_are_refused(tmp_path: Path) -> None:
    plans = json.loads(MODEL["plans.json"])
    for first, second in (("a", "b"), ("b", "a")):
        settings = plans["configurations"]["turned"]
        described = replaced(plans, ("configurations", first), settings | {"previous_stage": second})
        described = replaced(described, ("configurations", second), settings)
        files = with_checkpoint(
            {"plans.json": json.dumps(described).encode(), "dataset.json": MODEL["dataset.json"],
             "fold_0/checkpoint_final.pth": MODEL[checkpoint_name(MODEL)]},
            lambda values, title=first: values | {"init_args": {"configuration": title}},
        )  # fmt: skip
        folder_of(files, tmp_path / f"t__p__{first}")
    said = said_of(tmp_path / "t__p__a", tmp_path)
    assert "was trained as" in said


@pytest.mark.parametrize("seed", range(3))
def test_plans_in_the_place_of_a_planner_are_a_plan_or_a_message(seed: int) -> None:
    """``plan --from``: the same file, read with the images' own labels and channels."""
    labels = ExclusiveLabels({"background": 0, "organ": 1})
    every = [files for title, files in changed_json(MODEL, "plans.json") if not title.startswith("plans.json:=")]
    for files in random.Random(seed).sample(every, 60):
        try:
            read_plan_of(json.loads(files["plans.json"]), ("CT",), labels, ".nii.gz", "plans.json")
        except RecordError as error:
            assert str(error).startswith("plans.json")
            assert len(str(error)) < LONGEST


def test_the_command_says_what_is_wrong_and_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_of(with_pickle(MODEL, PICKLES["shared identity"]), tmp_path / "model")
    assert main(["import", "nnunet", str(folder), "--out", str(tmp_path / "bundle")]) == 2
    assert len(capsys.readouterr().err) < LONGEST
    assert not (tmp_path / "bundle").exists()
