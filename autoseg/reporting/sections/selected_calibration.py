"""Whether the probabilities of the selected model mean what they say, and whether temperatures mend that."""

from __future__ import annotations

from pathlib import Path

from ...core.names import counted
from ...evaluation.calibration import BINS, expected_error, overconfidence
from ...evaluation.selection import RECORD
from ..blocks import Block, Cell, Column, Table, number
from ..source import Source
from . import Part

FOUND = f"of voxels where the label has more than 1/{BINS}"


def blocks(source: Source) -> list[Block]:
    """Nothing where no model was selected, no temperatures were learned for it, or one configuration is shown."""
    found = source.selection if source.configuration is None else None
    learned = None if found is None else found.recalibration
    if found is None or learned is None:
        return []
    columns = (
        Column("label"),
        Column("temperature", number=True, hint="above 1 it softens probabilities, below 1 it sharpens them"),
        Column("ECE before", number=True, hint=f"expected calibration error {FOUND}: 0 is perfect"),
        Column("ECE after", number=True, hint=f"expected calibration error {FOUND}, with temperatures"),
        Column("overconfidence before", number=True, hint=f"mean probability minus share that is right {FOUND}"),
        Column("overconfidence after", number=True, hint=f"mean probability minus share that is right {FOUND}"),
    )
    rows: list[tuple[Cell, ...]] = [
        (
            label,
            number(learned.learned.get(label)),
            *(number(measure(bins, 1)) for measure in (expected_error, overconfidence) for bins in (before, after)),
        )
        for label, before in learned.before.items()
        if (after := learned.after.get(label))
    ]
    verdict = (
        "`predict --calibrated` applies the temperatures; label maps do not change."
        if learned.kept
        else "Temperatures make the cases no likelier, so the model has none."
    )
    note = (
        f"{found.chosen.name} on {counted(found.cases, 'validation case')}, each with the temperatures that were "
        f"learned without its fold; those that are shown were learned from all. {verdict}"
    )
    return [Table("Calibration before and after temperatures", columns, tuple(rows), note, filtered=False)]


def made_of(source: Source) -> list[Path]:
    """What `autoseg select` has left."""
    return [source.files.selection / RECORD]


SECTION = Part(17, "Calibration of the selected model", blocks, made_of)
