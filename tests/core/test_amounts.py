"""Bytes as people write them."""

from __future__ import annotations

import pytest

from autoseg.core.amounts import bytes_text, read_bytes
from autoseg.errors import UsageError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8GB", 8e9),
        ("4g", 4e9),
        ("500 mb", 5e8),
        ("7.5GiB", 7.5 * 2**30),
        ("24G", 24e9),
        ("1936GB", 1.936e12),
        ("1TB", 1e12),
    ],
)
def test_an_amount_of_memory(text: str, size: float) -> None:
    assert read_bytes(text) == int(size)


@pytest.mark.parametrize("text", ["", "much", "4", "0GB", "-3GB", "8 GB/s", "GB", "4 apples"])
def test_what_is_no_amount_of_memory_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no amount of memory"):
        read_bytes(text)


def test_bytes_for_a_person() -> None:
    assert (bytes_text(850e6), bytes_text(7.63e9), bytes_text(42e9)) == ("850 MB", "7.63 GB", "42 GB")
    assert bytes_text(3.2e12) == "3.2 TB"
