"""Registration of channels: planted shifts in real cases, two patients as they came, and a picture of T2 and ADC.

python benchmarks/alignment.py shifts DATASET... -o RESULT      planted shifts up to 15 mm and 15 degrees
python benchmarks/alignment.py raw DATASET052 -o RESULT         T1 whose header runs the other way, registered
python benchmarks/alignment.py picture PROSTATEX -o PICTURE     ADC on T2, by array, by headers and registered

The channels of these datasets lie together. Each further one is moved by a rigid transform, which resamples it once
with splines, as if the patient had moved between two scans: what its field of view loses is lost. The target error is
how far the registration puts a corner from where it is; corners are those of the box around what the reference shows.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from autoseg.alignment.grids import places_of, resampled
from autoseg.alignment.record import Alignment, Registration
from autoseg.alignment.registration import register
from autoseg.alignment.volume import Volume
from autoseg.core.geometry import Geometry
from autoseg.core.seeds import generator
from autoseg.data.images import read_case
from autoseg.data.layouts import read_dataset
from autoseg.interop.dicom_series import Series, read_slice
from autoseg.parts.readers import read_image
from autoseg.parts.readers.simpleitk import place

LARGEST_SHIFT, LARGEST_TURN = 15.0, 15.0  # mm, degrees
IDENTITY = np.eye(3), np.zeros(3)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("what", choices=("shifts", "raw", "picture"))
    arguments.add_argument("folders", type=Path, nargs="+")
    arguments.add_argument("-o", "--output", type=Path, required=True)
    arguments.add_argument("--repeats", type=int, default=2, help="shifts per channel")
    options = arguments.parse_args()
    if options.what == "picture":
        return picture(options.folders[0], options.output)
    found = shifts(options.folders, options.repeats) if options.what == "shifts" else raw(options.folders[0])
    before = json.loads(options.output.read_text()) if options.output.exists() else {}
    command = " ".join(["python benchmarks/alignment.py", options.what, *(each.name for each in options.folders)])
    machine = f"{os.cpu_count()} cores; one thread registers"
    result = before | {options.what: {"command": command, "machine": machine, **found}}
    options.output.write_text(json.dumps(result, indent=2) + "\n")


def shifts(folders: list[Path], repeats: int) -> dict[str, Any]:
    rows = [row for folder in folders for row in _rows(folder, repeats)]
    by_dataset = {name: [row for row in rows if row["dataset"] == name] for name in {row["dataset"] for row in rows}}
    return {
        "largest_shift_mm": LARGEST_SHIFT,
        "largest_turn_degrees": LARGEST_TURN,
        **_summary(rows),
        "datasets": {name: _summary(some) for name, some in sorted(by_dataset.items())},
        "rows": rows,
    }


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    planted, unmoved = [row for row in rows if row["before_mm"]], [row for row in rows if not row["before_mm"]]
    after = [row["after_mm"] for row in planted]
    return {
        "registrations": len(planted),
        "median_before_mm": _round(np.median([row["before_mm"] for row in planted])),
        "median_after_mm": _round(np.median(after)),
        "largest_after_mm": _round(max(after)),
        "worse_than_before": sum(row["after_mm"] > row["before_mm"] for row in planted),
        "not_used": sum(not row["used"] for row in planted),
        "median_seconds": _round(np.median([row["seconds"] for row in planted])),
        "unmoved_channels": len(unmoved),
        "unmoved_median_mm": _round(np.median([row["after_mm"] for row in unmoved])),
        "unmoved_largest_mm": _round(max(row["after_mm"] for row in unmoved)),
        "unmoved_largest_quick_mm": _round(max(row["quick_mm"] for row in unmoved)),
        "quick_median_seconds": _round(np.median([row["quick_seconds"] for row in unmoved])),
    }


def _rows(folder: Path, repeats: int) -> list[dict[str, Any]]:
    """The first repeat moves nothing: what is found there is the error on channels that lie together."""
    dataset, rows = read_dataset(folder), []
    for case in dataset.cases:
        image = read_case(case)
        corners = _corners(image.array[0], image.geometry)
        for number in range(1, len(image.array)):
            for repeat in range(repeats + 1):
                random = generator(repeat, "shift", case.key, number)
                matrix, offset = _transform(random, corners.mean(0)) if repeat else IDENTITY
                moved = _moved(image.array[number], image.geometry, matrix, offset) if repeat else image.array[number]
                row = _row(image.array[0], image.geometry, moved, (matrix, offset), corners)
                row |= {} if repeat else _quick(image.array[0], image.geometry, moved)
                rows.append({"dataset": dataset.name, "case": case.key, "channel": dataset.channels[number], **row})
                sys.stderr.write(json.dumps(rows[-1]) + "\n")
    return rows


def _row(
    reference: np.ndarray, grid: Geometry, moved: np.ndarray, truth: tuple[np.ndarray, np.ndarray], corners: np.ndarray
) -> dict[str, Any]:
    start = time.perf_counter()
    found = register(reference, grid, moved, grid, Alignment(0, "rigid"))
    seconds = time.perf_counter() - start
    there = corners @ truth[0].T + truth[1]
    errors = [np.linalg.norm(corners @ m.T + o - there, axis=1).mean() for m, o in (IDENTITY, _used(found))]
    return {
        "before_mm": _round(errors[0]),
        "after_mm": _round(errors[1]),
        "used": found.used,
        "nmi_before": _round(found.before, 5),
        "nmi_after": _round(found.after, 5),
        "seconds": _round(seconds),
    }


def _quick(reference: np.ndarray, grid: Geometry, channel: np.ndarray) -> dict[str, Any]:
    """What `check` would tell of channels that lie together."""
    start = time.perf_counter()
    found = register(reference, grid, channel, grid, Alignment(0, "rigid"), quick=True)
    seconds = _round(time.perf_counter() - start)
    return {"quick_mm": _round(found.displacement if found.used else 0.0), "quick_seconds": seconds}


def _used(found: Registration) -> tuple[np.ndarray, np.ndarray]:
    return (np.array(found.matrix).reshape(3, 3), np.array(found.offset)) if found.used else IDENTITY


def _corners(array: np.ndarray, geometry: Geometry) -> np.ndarray:
    box = Volume.of(array, geometry).content()
    return places_of(geometry, np.array(list(itertools.product(*box.T))))


def _transform(random: np.random.Generator, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A turn about the centre and a shift, both in a random direction and of any size up to the largest."""
    axis, way = (vector / np.linalg.norm(vector) for vector in random.normal(size=(2, 3)))
    transform = sitk.VersorRigid3DTransform()
    transform.SetRotation(axis.tolist(), float(np.radians(random.uniform(0, LARGEST_TURN))))
    matrix = np.array(transform.GetMatrix()).reshape(3, 3)
    return matrix, centre - matrix @ centre + way * random.uniform(0, LARGEST_SHIFT)


def _moved(array: np.ndarray, geometry: Geometry, matrix: np.ndarray, offset: np.ndarray) -> np.ndarray:
    image, back = sitk.GetImageFromArray(array), sitk.AffineTransform(3)
    place(image, geometry)
    inverse = np.linalg.inv(matrix)
    back.SetMatrix(inverse.ravel().tolist())
    back.SetTranslation((-inverse @ offset).tolist())
    low, high = float(array.min()), float(array.max())
    return sitk.GetArrayFromImage(sitk.Resample(image, image, back, sitk.sitkBSpline, low)).clip(low, high)


def raw(folder: Path) -> dict[str, Any]:
    """T1 on FLAIR: what copying arrays, headers and registration give, beside the T1 of the prepared dataset."""
    rows = {}
    for path in sorted((folder / "raw").glob("*_FLAIR.nii.gz")):
        key = path.name.removesuffix("_FLAIR.nii.gz")
        flair, t1 = read_image([path]), read_image([path.with_name(f"{key}_T1.nii.gz")])
        expected = read_image([folder / "imagesTr" / f"{key}_0001.nii.gz"]).array[0]
        start = time.perf_counter()
        found = register(flair.array[0], flair.geometry, t1.array[0], t1.geometry, Alignment(0, "rigid"))
        seconds = time.perf_counter() - start
        by_header = resampled(t1.array[0], t1.geometry, flair.geometry)
        registered = resampled(t1.array[0], t1.geometry, flair.geometry, found if found.used else None)
        rows[key] = {
            "orientations": [flair.geometry.orientation, t1.geometry.orientation],
            "used": found.used,
            "displacement_mm": _round(found.displacement),
            "nmi_before": _round(found.before, 5),
            "nmi_after": _round(found.after, 5),
            "correlation_with_the_dataset": {
                name: _round(np.corrcoef(array.ravel(), expected.ravel())[0, 1], 5)
                for name, array in {"header": by_header, "registered": registered}.items()
            },
            "correlation_of_header_and_registered": _round(np.corrcoef(by_header.ravel(), registered.ravel())[0, 1], 5),
            "seconds": _round(seconds),
        }
        if t1.array.shape == flair.array.shape:
            copied = np.corrcoef(t1.array[0].ravel(), expected.ravel())[0, 1]
            rows[key]["correlation_with_the_dataset"]["copied_array"] = _round(copied, 5)
    return {"cases": rows}


def picture(folder: Path, target: Path) -> None:
    """A row per patient: T2 with contours of the ADC as its array lies, by header and registered; a chequerboard."""
    from matplotlib.figure import Figure

    patients = sorted(path for path in folder.iterdir() if (path / "ADC").is_dir())
    figure = Figure(figsize=(10.4, 2.8 * len(patients)), layout="constrained")
    panels = figure.subplots(len(patients), 4, squeeze=False)
    for row, patient in zip(panels, patients):
        other = next(path for path in patient.iterdir() if path.name != "ADC")
        (t2, grid), (adc, its) = _series(other), _series(patient / "ADC")
        found = register(t2, grid, adc, its, Alignment(0, "rigid"))
        said = f"registered, {found.displacement:.1f} mm" if found.used else "--align rigid: not used, as by header"
        sys.stderr.write(f"{patient.name}: used {found.used}, {found.told}\n")
        laid = resampled(adc, Geometry.plain(adc.shape, _stretched(adc, t2)), Geometry.plain(t2.shape, (1.0,) * 3))
        header, aligned = (resampled(adc, its, grid, how) for how in (None, found if found.used else None))
        middle = t2.shape[0] // 2
        cut = tuple(slice(size // 4, -size // 4) for size in t2.shape[1:])
        shown = {"ADC's array laid on T2": laid, "ADC by header": header, said: aligned}
        for axes, (title, volume) in zip(row, shown.items()):
            axes.imshow(_grey(t2[middle])[cut], cmap="gray")
            _contours(axes, volume[middle][cut])
            axes.set_title(title, fontsize=7)
        row[3].imshow(_chequered(_grey(t2[middle][cut]), _grey(aligned[middle][cut])), cmap="gray")
        row[3].set_title("T2 and ADC in turn", fontsize=7)
        row[0].text(3, 12, patient.name, color="white", fontsize=7)
    for axes in panels.flat:
        axes.set_axis_off()
    figure.savefig(target, dpi=75)


def _contours(axes: Any, plane: np.ndarray) -> None:
    """Where the ADC, smoothed, passes two of its percentiles."""
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(plane, 2.0)
    axes.contour(smooth, levels=np.percentile(smooth, [50, 88]), colors=["#56B4E9", "#E69F00"], linewidths=0.8)


def _series(folder: Path) -> tuple[np.ndarray, Geometry]:
    slices = tuple(item for path in sorted(folder.glob("*.dcm")) if (item := read_slice(path)) is not None)
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"{folder.parent.name}_{folder.name}.nii.gz"
    Series(slices).write([path])
    image = read_image([path])
    path.unlink()
    return image.array[0], image.geometry


def _stretched(array: np.ndarray, onto: np.ndarray) -> tuple[float, float, float]:
    z, y, x = (there / here for there, here in zip(onto.shape, array.shape))
    return z, y, x


def _grey(plane: np.ndarray) -> np.ndarray:
    low, high = np.percentile(plane, [1, 99.5])
    return np.clip((plane - low) / max(high - low, 1e-6), 0, 1)


def _chequered(first: np.ndarray, second: np.ndarray, edge: int = 32) -> np.ndarray:
    rows, columns = np.indices(first.shape) // edge
    return np.where((rows + columns) % 2, first, second)


def _round(value: float, digits: int = 3) -> float:
    return round(float(value), digits)


if __name__ == "__main__":
    main()
