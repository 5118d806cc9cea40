"""Names that somebody gives to the channels and labels of a folder without a dataset.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...core.names import counted, short, shown_name
from ...errors import UsageError

CHANNELS, LABELS = "--channels", "--labels"


@dataclass(frozen=True)
class Names:
    """As many as there are channels in the files, and values in the label maps."""

    channels: tuple[str, ...] = ()
    """In the order of their numbers; empty: as found."""
    labels: tuple[str, ...] = ()
    """In the order of their values, without the background; empty: as found."""

    def __post_init__(self) -> None:
        """Raises UsageError for what can be no name, and for one that is given twice."""
        for flag, names, what in ((CHANNELS, self.channels, "channel"), (LABELS, self.labels, "label")):
            for name in names:
                try:
                    shown_name(name, what)
                except ValueError as error:
                    raise UsageError(f"{flag}: {error}") from None
            if len(set(names)) < len(names):
                raise UsageError(f"{flag} {short(','.join(names), 300)}: every name once")
        reserved = [name for name in self.labels if name.casefold() in ("background", "ignore")]
        if reserved:
            raise UsageError(f"{LABELS}: leave {reserved[0]} out; a dataset.json in the folder can name it")

    def of_channels(self, found: Sequence[str], folder: Path) -> tuple[str, ...]:
        """Raises UsageError where they are more or fewer than the channels found."""
        if len(self.channels) != len(found):
            there = counted(len(found), "channel")
            raise UsageError(f"{CHANNELS} names {len(self.channels)}, but the cases in {folder} have {there}")
        return self.channels

    def of_labels(self, values: Sequence[int], folder: Path) -> dict[str, int]:
        """Name to value. Raises UsageError where they are more or fewer than the values found."""
        if len(self.labels) != len(values):
            there = short(", ".join(map(str, values)), 300)
            raise UsageError(
                f"{LABELS} names {counted(len(self.labels), 'label')}, but besides the background the label maps in "
                f"{folder} hold {counted(len(values), 'value')}: {there}"
            )
        return dict(zip(self.labels, values))


NO_NAMES = Names()
