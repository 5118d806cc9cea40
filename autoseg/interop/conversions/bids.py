"""Brain Imaging Data Structure (bids.neuroimaging.io): sub-*/[ses-*/]anat/ with label maps under derivatives/."""

from __future__ import annotations

from ..patterns import Patterns

CONVERSION = Patterns(
    description="BIDS: T1w, T2w and FLAIR of every session, label maps (dseg, mask) from derivatives",
    case=r"sub-[A-Za-z0-9]+(?:_ses-[A-Za-z0-9]+)?",
    channels={name: f"*anat/*_{name}.nii*" for name in ("T1w", "T2w", "FLAIR")},
    label=("derivatives/*_dseg.nii*", "derivatives/*_mask.nii*"),
    table="*_dseg.tsv",
    named=r"_label-([A-Za-z0-9]+)",
    not_images=("derivatives/*", "sourcedata/*", "code/*"),
)
