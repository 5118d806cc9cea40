"""Coverage-guided fuzzing of what reads strangers' bytes: whatever they are, an error of autoseg's own or a value.

python tests/faults/fuzz.py nifti --minutes 5      (nifti, bundle, checkpoint; `pip install atheris` first)

Ends with exit code 0 when nothing was found. What was found lies in a file ``crash-*`` of the current folder.
"""

from __future__ import annotations

import argparse
import io
import logging
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import atheris
import numpy as np

with atheris.instrument_imports(include=["autoseg"]):
    from autoseg.bundle.bundle import read_bundle
    from autoseg.core.geometry import Geometry
    from autoseg.errors import AutosegError
    from autoseg.interop.checkpoint import open_checkpoint
    from autoseg.parts.readers import read_header, read_image, read_labels, write_labels

MODELS = Path(__file__).parents[1] / "interop" / "models"
LARGEST_INPUT = 1 << 16  # bytes
MEMORY = 2000  # megabytes, of which torch and its libraries take the most


def nifti(path: Path) -> None:
    """A NIfTI file: its header, its voxels, and these as a label map."""
    read_header(path)
    read_image([path])
    read_labels(path)


def bundle(path: Path) -> None:
    """A zip that should be a model."""
    read_bundle(path).verify()


def checkpoint(path: Path) -> None:
    """A file that torch.save should have written."""
    with open_checkpoint(path) as found:
        for value in found.values.values():
            str(type(value))


def seeds(what: str) -> list[bytes]:
    """Sound files to begin with."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seed.nii"
        write_labels(np.arange(24).reshape(2, 3, 4), Geometry.plain((2, 3, 4), (1.0, 2.0, 3.0)), path)
        image = path.read_bytes()
    models = [each.read_bytes() for each in sorted(MODELS.glob("*.zip"))]
    inner = []
    for content in models:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            inner += [archive.read(name) for name in archive.namelist() if name.endswith(".pth")]
    return {"nifti": [image], "bundle": [_small_bundle()], "checkpoint": inner}[what]


def _small_bundle() -> bytes:
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("model.json", "{}")
            archive.writestr("plan.json", "{}")
        return file.getvalue()


TARGETS: dict[str, tuple[Callable[[Path], None], str]] = {
    "nifti": (nifti, ".nii"),
    "bundle": (bundle, ".zip"),
    "checkpoint": (checkpoint, ".pth"),
}


def main() -> None:
    """Runs libFuzzer, which ends the process."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("what", choices=TARGETS)
    arguments.add_argument("--minutes", type=float, default=5.0)
    options = arguments.parse_args()
    logging.disable(logging.CRITICAL)
    read, ending = TARGETS[options.what]
    with tempfile.TemporaryDirectory() as folder:
        corpus, path = Path(folder) / "corpus", Path(folder) / f"input{ending}"
        corpus.mkdir()
        for number, content in enumerate(seeds(options.what)):
            (corpus / str(number)).write_bytes(content)

        def one(content: bytes) -> None:
            path.write_bytes(content)
            try:
                read(path)
            except AutosegError as error:
                assert 0 < len(str(error)) < 2000

        flags = [f"-max_total_time={int(60 * options.minutes)}", f"-max_len={LARGEST_INPUT}", "-timeout=10"]
        atheris.Setup([sys.argv[0], *flags, f"-rss_limit_mb={MEMORY}", "-verbosity=0", str(corpus)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
