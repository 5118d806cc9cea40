"""What a number in a record may be. A record checks itself when it is made, so that no file gets a wrong one further.

Upper bounds are far above what anybody uses: they refuse what no machine can do before somebody tries it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .names import short

LONGEST = 1e9  # of anything that is counted while a training runs: iterations, epochs
LARGEST_SIZE = 1 << 31  # voxels along an axis, or of one batch


def bounded(
    record: Any,
    *names: str,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> None:
    """Raises ValueError naming the first field of ``record`` among ``names`` that holds a number outside the bounds.

    ``least`` and ``most`` are allowed themselves, ``above`` and ``below`` are not. Of tuples every entry is looked at;
    None and text are no numbers.
    """
    for name in names:
        for value in _numbers(getattr(record, name)):
            limit = None
            if above is not None and not value > above:
                limit = f"above {above:g}"
            elif least is not None and not value >= least:
                limit = f"at least {least:g}"
            elif below is not None and not value < below:
                limit = f"below {below:g}"
            elif most is not None and not value <= most:
                limit = f"at most {most:g}"
            if limit is not None:
                raise ValueError(f"{name} must be {limit}, found {number(value)}")


def number(value: float) -> str:
    """In few characters."""
    return short(str(value), 30) if isinstance(value, int) else f"{value:g}"


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, tuple):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | float):
        yield value
