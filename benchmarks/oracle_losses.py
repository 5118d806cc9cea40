"""Writes tests/parts/nnunet_losses.json: losses of fixed logits as nnU-Net v2 2.8.1 computes them.

Run with a Python that has nnunetv2 2.8.1: ``python benchmarks/oracle_losses.py``.
"""

import json
from pathlib import Path

import torch
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss

SHAPE = (2, 3, 4, 5, 6)  # patches, heads, z, y, x
IGNORE = 3


def main() -> None:
    """The inputs are formulas, so that a test can make them again: see tests/parts/test_dice_ce.py."""
    count = 2 * 3 * 4 * 5 * 6
    logits = (3 * torch.sin(torch.arange(count, dtype=torch.float32) * 0.7)).reshape(SHAPE)
    target = (torch.arange(2 * 4 * 5 * 6) * 7 % 11 % 3).reshape(2, 1, 4, 5, 6)
    sparse = torch.where(torch.arange(2 * 4 * 5 * 6).reshape(2, 1, 4, 5, 6) % 5 == 0, IGNORE, target)
    regions = torch.cat((target >= 1, target >= 2), 1)
    values = {}
    for batch_dice in (False, True):
        dice = {"batch_dice": batch_dice, "smooth": 1e-5, "ddp": False}
        for name, given, ignore in (("exclusive", target, None), ("exclusive_ignore", sparse, IGNORE)):
            loss = DC_and_CE_loss(
                {**dice, "do_bg": False}, {}, ignore_label=ignore, dice_class=MemoryEfficientSoftDiceLoss
            )
            values[f"{name}_{batch_dice}"] = loss(logits, given).item()
        loss = DC_and_BCE_loss({}, {**dice, "do_bg": True}, dice_class=MemoryEfficientSoftDiceLoss)
        values[f"regions_{batch_dice}"] = loss(logits[:, :2], regions).item()
    path = Path(__file__).parent.parent / "tests" / "parts" / "nnunet_losses.json"
    path.write_text(json.dumps(values, indent=2) + "\n")


if __name__ == "__main__":
    main()
