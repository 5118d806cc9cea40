"""A DICOM file that announces more than it holds is found out before GDCM makes room for it."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from dicom_files import write_series
from hypothesis import given
from hypothesis import strategies as st

from autoseg.errors import ImageFileError
from autoseg.interop.dicom_damage import ends_early, meant_as_image, study_of
from autoseg.interop.dicom_series import read_slice

pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed")
SYNTAXES = {"implicit": "1.2.840.10008.1.2", "explicit": "1.2.840.10008.1.2.1", "big": "1.2.840.10008.1.2.2"}


@pytest.fixture(scope="module")
def sliced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_series(tmp_path_factory.mktemp("s"), np.arange(120).reshape(2, 6, 10), np.eye(3))[0]


def encoded(path: Path, syntax: str, undefined: bool, target: Path) -> bytes:
    """The slice with sequences in a sequence, in this encoding."""
    data = pydicom.dcmread(path)
    inner, outer = pydicom.Dataset(), pydicom.Dataset()
    inner.CodeValue = "113076"
    outer.PurposeOfReferenceCodeSequence = pydicom.Sequence([inner, inner])
    data.ReferencedImageSequence = pydicom.Sequence([outer, outer])
    for sequence in (data["ReferencedImageSequence"], outer["PurposeOfReferenceCodeSequence"]):
        sequence.is_undefined_length = undefined
    data.file_meta.TransferSyntaxUID = SYNTAXES[syntax]
    pydicom.dcmwrite(
        target, data, implicit_vr=syntax == "implicit", little_endian=syntax != "big", enforce_file_format=True
    )
    return target.read_bytes()


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_whole_file_is_whole_and_no_beginning_of_it_is(
    syntax: str, undefined: bool, sliced: Path, tmp_path: Path
) -> None:
    content = encoded(sliced, syntax, undefined, tmp_path / "x.dcm")
    assert not ends_early(content)
    assert meant_as_image(content)
    assert study_of(content) == "1.2.3" or syntax == "big"
    pixels = len(content) - 2 * 60
    assert all(ends_early(content[:end]) for end in range(pixels, len(content)))


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("syntax", ["implicit", "explicit"])
def test_whatever_announces_too_much_is_found_in_sequences_too(
    syntax: str, undefined: bool, sliced: Path, tmp_path: Path
) -> None:
    content = encoded(sliced, syntax, undefined, tmp_path / "x.dcm")
    code = b"\x08\x00\x00\x01" + (b"SH" if syntax == "explicit" else b"")  # the code's value, in the inner sequence
    at = content.rindex(code) + len(code)
    huge = b"\xf0\xff" if syntax == "explicit" else b"\xf0\xff\xff\xff"
    assert ends_early(content[:at] + huge + content[at + len(huge) :])


@given(content=st.binary(max_size=400))
def test_any_bytes_are_looked_at(content: bytes) -> None:
    assert ends_early(b"\0" * 128 + b"DICM" + content) in (False, True)


HUGE = {
    "in front": (b"\x02\x00\x02\x00", struct.pack("<HH2sHI", 2, 1, b"OB", 0, 2**31)),
    "in a sequence": (
        b"\x08\x00\x60\x00",
        struct.pack("<HHIHHIHHI", 8, 0x5F, 2**32 - 1, 0xFFFE, 0xE000, 2**31, 8, 0x100, 2**31),
    ),
}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts memory as Linux does")
@pytest.mark.parametrize("where", HUGE)
def test_gigabytes_are_not_asked_for(where: str, sliced: Path, tmp_path: Path) -> None:
    import resource

    before_tag, element = HUGE[where]
    content = sliced.read_bytes()
    at = content.index(before_tag)
    (tmp_path / "x.dcm").write_bytes(content[:at] + element + content[at:])
    assert read_slice(sliced) is not None
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageFileError, match="is an image but cannot be read"):
        read_slice(tmp_path / "x.dcm")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB
