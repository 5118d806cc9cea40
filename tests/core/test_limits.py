"""What a file announces is compared with what it holds and with the machine."""

from __future__ import annotations

import pytest

from autoseg.core import limits
from autoseg.core.limits import GRANTED, refuse_larger
from autoseg.errors import ImageFileError, RecordError


def test_small_files_are_granted_whatever_they_say() -> None:
    refuse_larger(GRANTED, "a.nii", held=0)
    refuse_larger(GRANTED + 1, "a.nii")
    refuse_larger(GRANTED + 1, "a.nii", held=GRANTED + 1)


def test_more_than_the_file_holds_is_refused_with_both_sizes() -> None:
    with pytest.raises(ImageFileError, match=r"a\.nii: announces 3 TB, but its content is at most 1 MB"):
        refuse_larger(3 * 10**12, "a.nii", held=10**6)
    with pytest.raises(RecordError, match=r"^b\.zip"):
        refuse_larger(10**400, "b.zip", held=10**6, error=RecordError)


def test_more_than_the_machine_has_is_refused_with_both_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "memory_bytes", lambda: 8 * 10**9)
    refuse_larger(8 * 10**9, "a.nii")
    with pytest.raises(ImageFileError, match=r"a\.nii: takes 9 GB of memory, but this machine has 8 GB"):
        refuse_larger(9 * 10**9, "a.nii")
