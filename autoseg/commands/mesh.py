"""`autoseg mesh`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from . import _flags

HELP = "write the surfaces of labels as STL or PLY, in mm and LPS coordinates, as 3D Slicer reads them"
EXAMPLES = (
    "autoseg mesh results/scan.nii.gz -o scan.stl --smooth",
    "autoseg mesh results/scan.nii.gz --label liver -o liver.ply",
)


def add_flags(command: ArgumentParser) -> None:
    command.add_argument(
        "label_map",
        type=_flags.path,
        metavar="LABELMAP",
        help="a volume; dataset.json beside it, as predict writes it, or one folder above names its labels",
    )
    command.add_argument(
        "-o",
        "--output",
        type=_flags.path,
        required=True,
        metavar="FILE",
        help="ends in .stl or .ply; of several labels each becomes a file, its name before that ending: p7_liver.stl",
    )
    command.add_argument("--label", type=_flags.word, metavar="NAME", help="only this label (default: all that occur)")
    command.add_argument(
        "--smooth", action="store_true", help="without the steps of voxels, and with the volume that these have"
    )


def run(options: Namespace) -> None:
    from ..pipeline.mesh import mesh

    meshes = mesh(options.label_map, options.output, label=options.label, smooth=options.smooth)
    said = [f"{each.path}: {each.label}, {each.volume_ml:.4g} ml, {each.triangles} triangles" for each in meshes]
    options.console.result("\n".join(said), meshes=meshes)
