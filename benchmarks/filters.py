"""What N4 bias field correction costs per channel, what its cache leaves of that, and what each filter takes beside it.

    python benchmarks/filters.py DATASET --scan OTHER --others -o benchmarks/results/filters.json

Each channel of the first cases is filtered as preparing does: once with an empty folder of kept fields, once more with
what is kept there, both in one thread. `variation` is the slow variation of brightness that `autoseg check` measures,
before and after (0: it cannot be measured). `fingerprint` scans the cases of OTHER with and without what was added for
it: landmarks of the histogram and, of a few cases, that variation.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from threadpoolctl import threadpool_limits

from autoseg.configuration import FILTERS
from autoseg.data.dataset import Dataset
from autoseg.data.images import read_case
from autoseg.data.layouts import read_dataset
from autoseg.inspection import channels, scan
from autoseg.inspection.brightness import slow_variation
from autoseg.parts.filters import n4
from autoseg.preprocessing.estimates import Estimates


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("dataset", type=Path)
    arguments.add_argument("--cases", type=int, default=2)
    arguments.add_argument("--scan", type=Path, help="dataset whose fingerprint is timed")
    arguments.add_argument("--repeats", type=int, default=15, help="of the fingerprint, both ways in turn")
    arguments.add_argument("--others", action="store_true", help="also time the other filters")
    arguments.add_argument("-o", "--output", type=Path)
    options = arguments.parse_args()
    dataset = read_dataset(options.dataset)
    with threadpool_limits(1):
        rows = [row for case in dataset.cases[: options.cases] for row in rows_of(case, dataset, options.others)]
        result: dict[str, Any] = {
            "command": " ".join(
                ["python", *(Path(word).name if Path(word).is_absolute() else word for word in sys.argv)]
            ),
            "machine": f"{os.cpu_count()} cores, processor time of one of them; other work ran beside it",
            "rows": rows,
            "seconds_per_channel": round(statistics.median(row["n4_seconds"] for row in rows), 2),
            "seconds_per_channel_kept": round(statistics.median(row["kept_seconds"] for row in rows), 2),
        }
        if options.scan is not None:
            result["fingerprint"] = fingerprint(read_dataset(options.scan), options.repeats)
    text = json.dumps(result, indent=1) + "\n"
    sys.stdout.write(text)
    if options.output is not None:
        options.output.write_text(text)


def rows_of(case: Any, dataset: Dataset, others: bool) -> list[dict[str, Any]]:
    image, rows = read_case(case), []
    for name, channel in zip(dataset.channels, image.array):
        spacing, part = image.geometry.spacing, n4.Spec()
        with tempfile.TemporaryDirectory() as folder:
            kept = Estimates(Path(folder))
            first, corrected = timed(kept.applied, part, channel, spacing)
            again, _ = timed(kept.applied, part, channel, spacing)
            size = sum(path.stat().st_size for path in Path(folder).iterdir())
        row = {
            "case": case.key,
            "channel": name,
            "voxels": list(channel.shape),
            "spacing": [round(edge, 2) for edge in spacing],
            "n4_seconds": round(first, 2),
            "kept_seconds": round(again, 3),
            "kept_bytes": size,
            "variation": [round(slow_variation(each) or 0.0, 3) for each in (channel, corrected)],
        }
        if others:
            for filter_ in FILTERS:
                if filter_ != "n4":
                    row[f"{filter_}_seconds"] = round(timed(FILTERS.load(filter_)().apply, channel, spacing)[0], 2)
        print(json.dumps(row), file=sys.stderr)
        rows.append(row)
    return rows


def fingerprint(dataset: Dataset, repeats: int) -> dict[str, float]:
    """Processor time in seconds of scanning all cases, the median of ``repeats``, with what was added and without."""

    def scanned() -> None:
        for case in dataset.cases:
            scan.scan_voxels(case, dataset)

    scanned()  # files are in memory afterwards
    now, before = [], []
    for _ in range(repeats):
        now.append(timed(scanned)[0])
        with (
            patch.object(channels, "_landmarks", lambda sample: ((), ())),
            patch.object(scan, "is_measured", lambda key, cases: False),
        ):
            before.append(timed(scanned)[0])
    with_it, without = statistics.median(now), statistics.median(before)
    shares = [new / old - 1 for new, old in zip(now, before)]
    return {
        "cases": len(dataset.cases),
        "seconds": round(with_it, 3),
        "seconds_without": round(without, 3),
        "slower_by": round(statistics.median(shares), 4),
    }


def timed(work: Callable[..., Any], *given: Any) -> tuple[float, Any]:
    """Processor time, since others may use the machine, too."""
    start = time.process_time()
    found = work(*given)
    return time.process_time() - start, found


if __name__ == "__main__":
    main()
