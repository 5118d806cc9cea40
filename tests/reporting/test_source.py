"""What the page tells of this machine: names of files, never where they lie."""

from __future__ import annotations

import pytest
from reported import HOSTILE

from autoseg.reporting import source as sources
from autoseg.reporting.source import PER_ROW, Source, open_source
from autoseg.workspace import DatasetFolder


@pytest.fixture
def source(made: DatasetFolder) -> Source:
    return open_source(made)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/home/jane doe/x.nii.gz: cannot be read", None),
        ("cannot open '/mnt/clinic/doe_jane/x.nii.gz'", "cannot open 'x.nii.gz'"),
        ("C:\\Users\\doe\\x.nii.gz: is damaged", "x.nii.gz: is damaged"),
        ("prostate/uterus and 3 / 4 of T2/FLAIR", "prostate/uterus and 3 / 4 of T2/FLAIR"),
        (HOSTILE, HOSTILE),
    ],
)
def test_folders_of_strangers_files_are_left_out(source: Source, text: str, told: str | None) -> None:
    found = source.without_folders(text)
    assert "/home/" not in found and (told is None or found == told)


def test_large_tables_leave_less_room_for_pictures(made: DatasetFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = open_source(made).room
    monkeypatch.setattr(sources, "WITHOUT_PICTURES", 0)
    rows = len(open_source(made).dataset.cases) * 2 * len(made.trained())  # of two labels
    assert usual - open_source(made).room == PER_ROW * rows > 0
    monkeypatch.setattr(sources, "PER_ROW", 10**9)
    assert open_source(made).room == 0


def test_folders_of_the_dataset_are_left_out_even_with_blanks(source: Source) -> None:
    images, root = source.dataset.cases[0].image_files[0], source.files.root
    assert source.without_folders(f"{images} and {root / 'plan.json'}") == f"{images.name} and plan.json"
