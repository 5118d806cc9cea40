"""Whatever a stranger writes into the JSON of a bundle: it is refused with a sentence, or the model predicts."""

import copy
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from strangers import Entries, good_entries, laid_out, mended, places, survived, with_json, zipped

from autoseg.bundle.bundle import read_bundle
from autoseg.bundle.card import card
from autoseg.bundle.trained import read_trained
from autoseg.bundle.write import copy_bundle

LARGE = 10**9
HOSTILE = [
    None, True, False, 0, -1, 1, 2, 97, 10**5, 4 * 10**6, LARGE, 2**53 + 1, 2**62, -(2**63), 0.5, -0.5, 1e-300, 1e300,
    "", " ", "x", "2d", "../../evil", "/../../evil.nii.gz", "/etc/passwd", "a\0b", "x" * 300, "x" * 100_000,
    "\x1b[2J\u202e", "\ud800", "os.path", "none", [], {}, [[]], [None], [0] * 1000, [2, 2, 2], [LARGE] * 3,
    {"name": "os.path"}, {"name": "x"}, {"name": "none"}, {"kind": "regions"}, {"": 0},
]  # fmt: skip
RAW = ["NaN", "Infinity", "1e999", "9" * 400, "[" * 60 + "]" * 60, '{"a": 1, "a": 2}', "\x01", "", "{"]
SEED, SAMPLED = 7, 50  # of ten thousand
MARK = "here comes what is no JSON"


@pytest.fixture
def entries(small_plan, tmp_path) -> Entries:
    return good_entries(small_plan, tmp_path / "author")


@pytest.fixture
def ends(entries, tmp_path) -> Callable[..., str]:
    """How it ends when a value in a JSON file of the good bundle is another one."""

    def with_another(name: str, place: tuple[Any, ...], new: Any) -> str:
        def change(value: Any) -> None:
            *above, last = place
            for key in above:
                value = value[key]
            value[last] = new

        return survived(zipped(tmp_path / "stranger.zip", with_json(entries, name, change)), tmp_path / "models")

    return with_another


def test_the_good_bundle_predicts(entries, tmp_path):
    assert survived(zipped(tmp_path / "stranger.zip", entries), tmp_path / "models") == "predicts"
    assert survived(laid_out(tmp_path / "stranger", entries), tmp_path / "models") == "predicts"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model.json", "plan.json"])
def test_any_value_may_be_anything(entries, tmp_path, name):
    good, chance = json.loads(entries[name]), random.Random(SEED)
    where = [place for place in places(good) if place[0] != "files"]
    for number in range(SAMPLED):
        place, new = chance.choice(where), chance.choice([*HOSTILE, *({MARK: raw} for raw in RAW)])
        value = copy.deepcopy(good)
        inside = value
        for key in place[:-1]:
            inside = inside[key]
        inside[place[-1]] = MARK if isinstance(new, dict) and MARK in new else new
        text = json.dumps(value)
        text = text.replace(f'"{MARK}"', new[MARK]) if isinstance(new, dict) and MARK in new else text
        changed = entries | {name: text.encode()}
        changed = changed if name == "model.json" else mended(changed)
        survived(zipped(tmp_path / f"stranger{number}.zip", changed), tmp_path / "models")


ENDINGS = ["/../../evil.nii.gz", "/evil", "../x", "", ".", "..", ".exe", ".nii.gz/", "x" * 300, "a.nii.gz", ".nii.gz\0"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_label_maps_end_like_images(ends, ending):
    assert "file_ending" in ends("plan.json", ("file_ending",), ending)


def of_one(field: str, *deeper: str) -> tuple[str, ...]:
    return ("configurations", "3d_lowres", field, *deeper)


@pytest.mark.parametrize(
    ("place", "new", "said"),
    [
        (of_one("network", "features"), [10**7, 10**7], "features|GB of memory; this machine has"),
        (of_one("network", "features"), [4, 10**7], "features|does not belong to the plan"),
        (of_one("network", "features"), [4, 9], "has shape (.*) instead of (.*)"),
        (of_one("network", "features"), [4, 2**62], "features|does not belong|cannot be built"),
        (of_one("patch_size"), [4 * 10**6] * 3, "patch_size|4000000 x 4000000 x 4000000 voxels, which take about"),
        (of_one("patch_size"), [2**61] * 3, "patch_size|GB of memory; this machine has"),  # more than 64 bits count
        (of_one("network", "kernels"), [[LARGE + 1] * 3] * 2, "kernels|does not belong|cannot be built"),
        (of_one("network", "blocks_encoder"), [1, LARGE], "too few for 1000000002 blocks|blocks"),
        (("configurations", "2d", "slices"), LARGE + 1, "memory|slices"),
        (("labels", "names"), {"background": 0, **{f"l{n}": n for n in range(1, 12_000)}}, ""),
        (of_one("normalizers"), [{"name": "none"}] * 5000, "5000 entries for 1 channels"),
        (of_one("normalizers"), [{"name": "none"}] * 10**5, "values"),
        (("channels",), [], "channels"),
        (("labels", "names"), {"organ": 7}, "background"),
        (("labels",), {"kind": "regions", "regions": {}, "class_order": []}, "plan.json|no labels"),
        (("reasons",), ["x" * 5_000_000], "5 MB"),
    ],
)
def test_absurd_plans_are_refused_before_anything_is_allocated(ends, place, new, said):
    assert re.search(said, ends("plan.json", place, new))


def test_a_patch_that_this_machine_cannot_hold_is_refused(ends, monkeypatch):
    monkeypatch.setattr("autoseg.inference.networks.memory_bytes", lambda: 10**8)
    said = ends("plan.json", of_one("patch_size"), [200] * 3)
    assert re.search("3d_lowres sees patches of 200 x 200 x 200 .* 1.* GB of memory; this machine has 100 MB", said)


@pytest.mark.parametrize("field", ["slices", "batch_size"])
def test_a_batch_is_as_large_as_a_machine_holds(ends, field):
    assert field in ends("plan.json", ("configurations", "2d", field), LARGE + 1)


def test_every_voxel_of_a_patch_gets_its_logits(ends):
    """A network that shrinks them at once could neither be trained nor predict."""
    assert "strides" in ends("plan.json", of_one("network", "strides"), [[1, 2, 1], [2, 2, 2]])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "new", "said"),
    [
        (
            ("postprocessing",),
            [{"label": None, "method": {"name": "fill_holes"}, "clears": False}] * 1001,
            "1001 steps",
        ),
        (("postprocessing", 0, "label"), "liver", "'liver', which is no label"),
        (("configurations",), {f"c{number}": ["0"] for number in range(10_000)}, "10000 entries"),
        (("configurations", "2d"), [str(number) for number in range(40_000)], "40002 folds"),
        (("configurations", "2d"), ["0", "0"], "names two files"),
        (("configurations", "2d"), ["a", "A"], "names two files"),
        (("configurations", "2D"), ["0"], "names two files"),
        (("configurations", "model.json"), ["0"], "names two files"),
        (("configurations", "Plan.json"), ["0"], "names two files"),
        (("name",), "a" * 200, "cannot be the name"),
        (("licence",), "\ud800", "no Unicode"),
        (("licence",), "x" * 5_000_000, "5 MB"),
    ],
)
def test_absurd_manifests_are_refused(ends, place, new, said):
    assert said in ends("model.json", place, new)


def test_a_card_is_as_long_as_a_person_reads(entries, tmp_path):
    def boast(manifest: dict) -> None:
        manifest.update(licence="l" * 1_000_000, citation="\x1b[2J\u202e" * 1000, source="s" * 1_000_000)
        score = manifest["scores"]["labels"]["organ"]
        manifest["scores"]["labels"] = {f"label {number}" * 50: score for number in range(2000)}

    path = zipped(tmp_path / "stranger.zip", with_json(entries, "model.json", boast))
    text = card(read_trained(path))
    assert len(text) < 200_000 and "lines more" in text
    assert all(line.isprintable() for line in text.splitlines())


def test_long_texts_are_kept_whole(entries, tmp_path):
    licence = "All rights to whom they belong. " * 1000
    path = zipped(
        tmp_path / "stranger.zip", with_json(entries, "model.json", lambda manifest: manifest.update(licence=licence))
    )
    copy_bundle(read_bundle(path), tmp_path / "copy")
    assert read_bundle(tmp_path / "copy").manifest.licence == licence


def test_a_stage_that_others_need_is_read_once(entries, tmp_path):
    from autoseg.inference.model import Model

    def averaged(manifest: dict) -> None:
        manifest["ensemble"] = {"3d_lowres": 0.5, "cascade": 0.5}

    path: Path = zipped(tmp_path / "stranger.zip", with_json(entries, "model.json", averaged))
    lowres, cascade = Model.read(path).members
    assert cascade.previous is lowres
