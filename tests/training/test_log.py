"""What a training tells goes on whatever has become of the files it is told in."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from autoseg.training.log import MetricsTable, written_to

WHOLE = "epoch,iteration,loss,dice\n1,2,0.5,\n2,4,0.25,0.5\n3,6,nan,0.75\n"
LOG = logging.getLogger("autoseg")


def epochs(path: Path, iteration: int = 100) -> list[str]:
    return [f"{row['epoch']:.0f}" for row in MetricsTable.open(path, iteration).rows]


def test_rows_beyond_an_iteration_are_written_again(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text(WHOLE)
    assert epochs(tmp_path / "metrics.csv") == ["1", "2", "3"]
    assert epochs(tmp_path / "metrics.csv", 4) == ["1", "2"]


@pytest.mark.parametrize(
    ("content", "left"),
    [
        (b"", []),
        (b"\0\xff\xfe" * 50, []),
        (WHOLE.replace("2,4,", "2,x,").encode(), ["1", "3"]),
        (WHOLE.replace("2,4,", "2,nan,").encode(), ["1", "3"]),
        (WHOLE.replace("iteration", "iterat").encode(), []),
        (WHOLE.replace("0.25,", "").encode(), ["1", "3"]),
        (WHOLE.replace("0.25,", "0.25,1,2,").encode(), ["1", "3"]),
        (WHOLE.replace("0.5,\n", "0.5,1,2,\n").encode(), ["2", "3"]),
        (WHOLE[:40].encode(), ["1"]),
        (b"case,label,dice\na,organ,0.5\n", []),
    ],
)
def test_rows_that_cannot_be_read_are_left_out(
    tmp_path: Path, content: bytes, left: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "metrics.csv"
    path.write_bytes(content)
    table = MetricsTable.open(path, 100)
    assert [f"{row['epoch']:.0f}" for row in table.rows] == left
    assert content == b"" or "metrics.csv is damaged" in caplog.text
    table.add({"epoch": 4.0, "iteration": 8.0})
    assert epochs(path) == [*left, "4"]


def test_a_column_of_an_earlier_version_goes_on_under_its_new_name(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("epoch,iteration,share_waiting\n1,2,0.25\n")
    table = MetricsTable.open(tmp_path / "metrics.csv", 100)
    table.add({"epoch": 2.0, "iteration": 4.0, "share_waiting_for_data": 0.5})
    assert (tmp_path / "metrics.csv").read_text().splitlines() == [
        "epoch,iteration,share_waiting_for_data",
        "1,2,0.25",
        "2,4,0.5",
    ]


def test_a_training_of_a_million_iterations_reads_its_own_table(tmp_path: Path) -> None:
    table = MetricsTable.open(tmp_path / "metrics.csv", 0)
    table.add({"epoch": 1.0, "iteration": 1234567.0})
    assert epochs(tmp_path / "metrics.csv", 1234567) == ["1"]
    assert epochs(tmp_path / "metrics.csv", 1234566) == []


def test_a_folder_in_the_place_of_a_file_is_told_and_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("metrics.csv", "log.txt"):
        (tmp_path / name).mkdir()
    table = MetricsTable.open(tmp_path / "metrics.csv", 0)
    table.add({"epoch": 1.0, "iteration": 2.0})
    with written_to(tmp_path / "log.txt"):
        LOG.info("said")
    assert "metrics.csv" in caplog.text and "log.txt" in caplog.text
    assert not list((tmp_path / "log.txt").iterdir())
