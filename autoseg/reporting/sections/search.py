"""What `autoseg search` has tried: Dice against time, the plans that no other beats, all trainings."""

from __future__ import annotations

from pathlib import Path

from ...core.names import counted
from ...core.progress import duration
from ...core.records import read_json
from ...errors import RecordError
from ...pipeline.search_front import RECORD, Found, Tried
from ..blocks import Block, Cell, Column, Heading, Notice, Points, Scatter, Table, Text, number
from ..source import Source
from . import Part


def blocks(source: Source) -> list[Block]:
    """Of every fold that was kept aside; nothing where one configuration is shown."""
    found: list[Block] = []
    for path in made_of(source) if source.configuration is None else []:
        try:
            record = read_json(path, Found)
        except RecordError as error:
            found.append(Notice(source.told(error)))
            continue
        if record.tried:
            found += [Heading(f"Fold {record.fold} kept aside"), *_of_fold(record)]
    return found


def _of_fold(record: Found) -> list[Block]:
    front = {each.name for each in record.front}
    told = (
        f"{counted(len(record.tried), 'training')}; no other beats {len(front)} of them in Dice, time of training and "
        f"time of prediction at once. Dice is that of cases among which the best was chosen, so it flatters; believe "
        f"that on fold {record.fold}, which nothing in the search has seen."
    )
    columns = (
        Column("plan"),
        Column("best of its times", chosen=True),
        Column("trained (s)", number=True),
        Column("prediction (s per case)", number=True),
        Column("Dice", number=True),
        Column(f"Dice on fold {record.fold}", number=True, hint="trained on all cases that the search has seen"),
        Column("what is not as planned"),
    )
    rows: list[tuple[Cell, ...]] = [
        (
            each.name,
            "yes" if each.name in front else "no",
            number(each.seconds),
            number(each.seconds_per_case),
            number(each.dice),
            number(each.reported),
            each.told,
        )
        for each in sorted(record.tried, key=lambda each: -each.dice)
    ]
    note = "`autoseg search DATASET --take PLAN` adds a plan to the dataset's."
    return [Text(told), _scatter(record), Table("All trainings of the search", columns, tuple(rows), note)]


def _scatter(record: Found) -> Scatter:
    lengths = sorted({each.seconds for each in record.tried})
    series = tuple(_points(seconds, [each for each in record.tried if each.seconds == seconds]) for seconds in lengths)
    return Scatter("Dice against time", "prediction (s per case)", "Dice", series, note="A point is a training.")


def _points(seconds: float, tried: list[Tried]) -> Points:
    return Points(
        f"trained {duration(seconds)}",
        tuple(number(each.seconds_per_case) for each in tried),
        tuple(number(each.dice) for each in tried),
        tuple(each.name for each in tried),
    )


def made_of(source: Source) -> list[Path]:
    """What the search of each fold has left."""
    return sorted(source.files.searches.glob(f"fold_*/{RECORD}"))


SECTION = Part(18, "Search", blocks, made_of)
