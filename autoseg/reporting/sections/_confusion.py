"""Of the cross-validation: which label was taken for which."""

from __future__ import annotations

from collections.abc import Sequence

from ...evaluation.confusion import Confusion, classes, most_confused
from ..blocks import Block, Cell, Column, Notice, Table, number
from ..cases import unit
from ..counted import Compared, counted
from ..pairs import Matrix
from ..source import Source

MOST_CLASSES = 16  # of a matrix that can be read
MOST_PAIRS = 50
TITLE = "Confusion between labels"


def confused(source: Source, name: str) -> list[Block]:
    """Of one configuration: a matrix, or of many labels what is most often confused."""
    compared = counted(source).compared.get(name)
    if compared is None:
        return []
    found: list[Block] = []
    if compared.wrong:
        found.append(Notice(f"Not in the confusion between labels: {compared.wrong[0]}{_more(compared.wrong)}"))
    if not compared.cases:
        return found
    measured = source.fingerprint.cases if source.fingerprint else {}
    of = unit([measured[key] for key in compared.cases if key in measured])
    names, note = classes(source.dataset.labels), _note(source, compared)
    if len(names) <= MOST_CLASSES:
        return [_matrix(compared.confusion, names, of, note), *found]
    return [_pairs(compared.confusion, len(names), of, note), *found]


def _more(wrong: Sequence[str]) -> str:
    return f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""


def _note(source: Source, compared: Compared) -> str:
    some = len(compared.cases) < compared.validated
    which = f"{len(compared.cases)} of {compared.validated} validated cases" if some else "all validated cases"
    overlapping = source.dataset.labels.KIND == "masks"
    told = " Masks may overlap, so that a row may sum to more than 100 %." if overlapping else ""
    return f"All voxels of {which} together: rows are labels of the reference, columns what was predicted there.{told}"


def _matrix(found: Confusion, names: Sequence[str], of: str, note: str) -> Matrix:
    amounts = tuple(tuple(number(found.pairs.get((row, column), 0.0)) or 0.0 for column in names) for row in names)
    shares = tuple(tuple(_percent(found, row, column) for column in names) for row in names)
    return Matrix(TITLE, tuple(names), "reference", "prediction", amounts, of, shares, note)


def _percent(found: Confusion, row: str, column: str) -> float | None:
    share = found.share((row, column))
    return None if share is None else number(100 * share)


def _pairs(found: Confusion, count: int, of: str, note: str) -> Table:
    confusions = most_confused(found)
    columns = (
        Column("reference", chosen=True),
        Column("prediction", chosen=True),
        Column(of, number=True),
        Column("share of the reference (%)", number=True),
    )
    rows: list[tuple[Cell, ...]] = [
        (*pair, number(found.pairs[pair]), _percent(found, *pair)) for pair in confusions[:MOST_PAIRS]
    ]
    told = f" The {MOST_PAIRS} largest confusions of {count} labels." if len(confusions) > MOST_PAIRS else ""
    return Table(TITLE, columns, tuple(rows), f"{note}{told}")
