"""A name that becomes a file can lead nowhere else; a name that is only shown can harm no terminal."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoseg.core.names import path_name, short, shown_name

BAD_ANYWHERE = ["", " ", "\t", "a\0b", "a\nb", "\x1b[31m", "\ud800", "‮abc", "x" * 300]
BAD_AS_PATH = [
    "/etc",
    "..",
    ".",
    "../a",
    "a/b",
    "a\\b",
    "C:x",
    ".hid",
    " a",
    "a ",
    "a.",
    "con",
    "NUL.nii",
    "a*",
    "é" * 80,
]


@pytest.mark.parametrize("name", [*BAD_ANYWHERE, *BAD_AS_PATH])
def test_what_is_no_name_of_a_file_is_refused(name):
    with pytest.raises(ValueError, match=r"the case .* cannot be the name of a file") as caught:
        path_name(name, "the case")
    assert len(str(caught.value)) < 400 and str(caught.value).isprintable()


@pytest.mark.parametrize("name", BAD_ANYWHERE)
def test_what_cannot_be_shown_is_refused(name):
    with pytest.raises(ValueError, match=r"the label .* cannot be a name"):
        shown_name(name, "the label")


@pytest.mark.parametrize("name", ["a", "case_001", "Müller 3 (b)", "sub-01_ses-2", "x.y", "患者", "~a", "-a", "a&b;c"])
def test_ordinary_names_pass(name):
    assert path_name(name, "the case") == shown_name(name, "the case") == name


def test_a_label_may_hold_a_slash():
    assert shown_name("prostate/uterus", "the label") == "prostate/uterus"


@given(st.text(max_size=20))
def test_a_name_that_passes_is_one_step_of_a_path(name):
    try:
        path_name(name, "the case")
    except ValueError:
        return
    assert os.path.normpath(os.path.join("/folder", name)) == f"/folder/{name}"
    name.encode()


@given(st.one_of(st.text(), st.integers(), st.lists(st.integers())), st.integers(10, 200))
def test_what_a_message_quotes_is_short(value, most):
    assert len(short(value, most)) <= most
