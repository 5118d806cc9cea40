"""The store of prepared cases: what is written comes back, whole or in part, or not at all."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoseg.core.geometry import Box, Geometry
from autoseg.errors import ImageFileError, WorkspaceError
from autoseg.preprocessing import store as module
from autoseg.preprocessing.locations import Locations
from autoseg.preprocessing.prepare import PreparedCase
from autoseg.preprocessing.spatial import spatial_record
from autoseg.preprocessing.store import CaseStore

NOWHERE = Locations.of({})


def make_case(shape: tuple[int, int, int] = (9, 20, 17), channels: int = 2, seed: int = 0) -> PreparedCase:
    random = np.random.default_rng(seed)
    record = spatial_record(shape, (1.0, 2.0, 3.0), (2, 1, 0), Box.whole(shape), (None, None, None))
    geometry = Geometry(shape, (1.0, 2.0, 3.0), (0.5, 1 / 3, 7.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
    foreground = Locations.of({1: np.array([[0, 1, 2], [3, 4, 5]]), 4: np.array([[8, 19, 16]])})
    labels = random.integers(0, 5, shape).astype(np.uint8)
    return PreparedCase(random.normal(size=(channels, *shape)).astype(np.float32), labels, record, geometry, foreground)


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    case = make_case()
    CaseStore(tmp_path, (8, 8, 8)).write("a", case, "key")
    stored = CaseStore(tmp_path).open("a")
    image, labels = stored.read_whole()
    np.testing.assert_array_equal(image, case.image.astype(np.float16))
    np.testing.assert_array_equal(labels, case.labels)
    assert (stored.shape, stored.channels) == ((9, 20, 17), 2)
    assert (stored.record, stored.geometry) == (case.record, case.geometry)
    assert case.foreground is not None
    for name, expected in vars(case.foreground).items():
        np.testing.assert_array_equal(getattr(stored.foreground, name), expected)


@given(data=st.data())
def test_a_box_is_that_part_of_the_whole(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.getbasetemp() / "boxes"
    case = make_case()
    if CaseStore(folder).content("a") is None:
        CaseStore(folder, (4, 8, 8)).write("a", case, "key")
    start = tuple(data.draw(st.integers(0, size - 1)) for size in (9, 20, 17))
    stop = tuple(data.draw(st.integers(low + 1, size)) for low, size in zip(start, (9, 20, 17)))
    box = Box(start, stop)
    image, labels = CaseStore(folder).open("a").read(box)
    np.testing.assert_array_equal(image, case.image.astype(np.float16)[(slice(None), *box.slices)])
    np.testing.assert_array_equal(labels, case.labels[box.slices])


@pytest.mark.parametrize("channels", [(0,), (3,), (1, 2), (3, 0, 2), (0, 1, 2, 3)])
def test_some_channels_are_those_of_the_whole(tmp_path: Path, channels: tuple[int, ...]) -> None:
    case = make_case(channels=4)
    CaseStore(tmp_path, (4, 8, 8)).write("a", case, "key")
    box = Box((2, 3, 4), (9, 11, 17))
    image, labels = CaseStore(tmp_path).open("a").read(box, channels)
    np.testing.assert_array_equal(image, case.image.astype(np.float16)[(list(channels), *box.slices)])
    assert case.labels is not None
    np.testing.assert_array_equal(labels, case.labels[box.slices])


def test_threads_may_read_one_case_at_once(tmp_path: Path) -> None:
    case = make_case((30, 40, 50))
    CaseStore(tmp_path, (8, 8, 8)).write("a", case, "key")
    stored = CaseStore(tmp_path).open("a")
    boxes = [Box((i, j, 0), (i + 5, j + 5, 50)) for i in range(0, 25, 3) for j in range(0, 35, 3)]
    with ThreadPoolExecutor(4) as pool:
        for box, (image, labels) in zip(boxes, pool.map(stored.read, boxes)):
            np.testing.assert_array_equal(image, case.image.astype(np.float16)[(slice(None), *box.slices)])
            np.testing.assert_array_equal(labels, case.labels[box.slices])


def test_a_case_without_foreground_comes_back_so(tmp_path: Path) -> None:
    case = make_case()
    CaseStore(tmp_path).write("a", PreparedCase(case.image, case.labels, case.record, case.geometry, NOWHERE), "key")
    assert CaseStore(tmp_path).open("a").foreground.present == {}


def test_large_values_are_kept_in_single_precision(tmp_path: Path) -> None:
    case = make_case()
    large = PreparedCase(case.image * 1e5, case.labels, case.record, case.geometry, NOWHERE)
    CaseStore(tmp_path).write("a", large, "key")
    np.testing.assert_array_equal(CaseStore(tmp_path).open("a").read_whole()[0], large.image)


def test_content_tells_what_a_case_was_made_from(tmp_path: Path) -> None:
    store = CaseStore(tmp_path)
    assert store.content("a") is None
    store.write("a", make_case(), "old")
    store.write("a", make_case(seed=1), "new")
    assert store.content("a") == "new"
    np.testing.assert_array_equal(store.open("a").read_whole()[1], make_case(seed=1).labels)


def test_a_case_killed_while_being_written_does_not_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_write_locations", killed)
    with pytest.raises(KeyboardInterrupt):
        CaseStore(tmp_path).write("a", make_case(), "key")
    assert CaseStore(tmp_path).keys() == ()
    assert list(tmp_path.iterdir()) == []


def test_keys_are_sorted_and_complete(tmp_path: Path) -> None:
    store = CaseStore(tmp_path)
    for key in ("b", "a"):
        store.write(key, make_case(), "key")
    (tmp_path / "c").mkdir()
    assert store.keys() == ("a", "b")


def test_a_missing_case_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="autoseg preprocess"):
        CaseStore(tmp_path).open("a")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    CaseStore(tmp_path).write("a", make_case(), "key")
    file = tmp_path / "a" / "labels.b2nd"
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(ImageFileError, match=r"case a: .*labels\.b2nd is damaged"):
        CaseStore(tmp_path).open("a").read_whole()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from([*module.FILES, module.RECORD]), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7)
)
def test_no_changed_byte_is_read(tmp_path: Path, name: str, place: float, bit: int) -> None:
    store = CaseStore(tmp_path)
    store.write("a", make_case(), "key")
    path = tmp_path / "a" / name
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    path.write_bytes(content)
    assert store.look("a")[1]
    with pytest.raises((ImageFileError, WorkspaceError)):
        stored = store.open("a")
        stored.read_whole(), stored.foreground


def test_files_of_another_case_are_not_read(tmp_path: Path) -> None:
    store = CaseStore(tmp_path)
    for seed, key in enumerate("ab"):
        store.write(key, make_case(seed=seed), "key")
    (tmp_path / "a" / "image.b2nd").write_bytes((tmp_path / "b" / "image.b2nd").read_bytes())
    assert "image.b2nd" in (store.look("a")[1] or "") and store.look("b") == ("key", None)
    with pytest.raises(ImageFileError, match=r"image\.b2nd"):
        store.open("a").read_whole()


def test_a_case_that_is_damaged_while_it_is_read_ends_reading(tmp_path: Path) -> None:
    CaseStore(tmp_path).write("a", make_case(), "key")
    stored = CaseStore(tmp_path).open("a")
    stored.read_whole()
    (tmp_path / "a" / "image.b2nd").write_bytes(bytes(10))
    with pytest.raises(ImageFileError, match="autoseg preprocess"):
        stored.read(Box((0, 0, 0), (1, 1, 1)))


def test_a_case_of_an_older_version_is_none(tmp_path: Path) -> None:
    store = CaseStore(tmp_path)
    store.write("a", make_case(), "key")
    record = json.loads((tmp_path / "a" / "case.json").read_text())
    old = {name: value for name, value in record.items() if name not in ("files", "checksum")}
    (tmp_path / "a" / "case.json").write_text(json.dumps(old))
    assert store.look("a") == (None, module.OLDER)


@pytest.mark.parametrize("way", ["deleted", "folder"])
def test_a_case_without_its_record_is_written_anew(tmp_path: Path, way: str) -> None:
    store = CaseStore(tmp_path)
    store.write("a", make_case(), "key")
    (tmp_path / "a" / "case.json").unlink()
    if way == "folder":
        (tmp_path / "a" / "case.json").mkdir()
    assert store.look("a")[0] is None and store.look("a")[1]
    store.write("a", make_case(), "key")
    assert store.look("a") == ("key", None)


@pytest.mark.parametrize("content", ['{"patient": 7}', "", "not JSON"])
def test_a_folder_of_somebody_else_is_spared_whatever_its_files_are_called(tmp_path: Path, content: str) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "case.json").write_text(content)
    (folder / "notes.txt").write_text("years of work")
    with pytest.raises(WorkspaceError, match=r"was not made by autoseg \(there is no case\.json of ours in it\)"):
        CaseStore(tmp_path).write("a", make_case(), "key")
    (folder / "notes.txt").unlink()
    with pytest.raises(WorkspaceError, match="was not made by autoseg"):
        CaseStore(tmp_path).write("a", make_case(), "key")
    assert (folder / "case.json").read_text() == content


@pytest.mark.parametrize("content", ["", '{"cont', None])
def test_a_case_whose_record_was_destroyed_is_prepared_anew(tmp_path: Path, content: str | None) -> None:
    CaseStore(tmp_path).write("a", make_case(), "key")
    (tmp_path / "a" / "case.json").unlink()
    if content is not None:
        (tmp_path / "a" / "case.json").write_text(content)
    CaseStore(tmp_path).write("a", make_case(), "key")
    assert CaseStore(tmp_path).look("a") == ("key", None)
