"""Writes tests/parts/oracle_losses.json: losses of fixed logits as nnU-Net v2 2.8.1 and MONAI 1.6 compute them.

Run with a Python that has both: ``python benchmarks/oracle_losses.py``.
"""

import json
from pathlib import Path

import monai.losses
import torch
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss, DC_and_topk_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from nnunetv2.training.loss.robust_ce_loss import TopKLoss

SHAPE = (2, 3, 4, 5, 6)  # patches, heads, z, y, x
IGNORE = 3


def main() -> None:
    """The inputs are formulas, so that a test can make them again: see tests/parts/test_losses.py."""
    count = 2 * 3 * 4 * 5 * 6
    logits = (3 * torch.sin(torch.arange(count, dtype=torch.float32) * 0.7)).reshape(SHAPE)
    target = (torch.arange(2 * 4 * 5 * 6) * 7 % 11 % 3).reshape(2, 1, 4, 5, 6)
    sparse = torch.where(torch.arange(2 * 4 * 5 * 6).reshape(2, 1, 4, 5, 6) % 5 == 0, IGNORE, target)
    regions = torch.cat((target >= 1, target >= 2), 1)
    values = nnunet(logits, target, sparse, regions) | monais(logits, target, regions.float())
    path = Path(__file__).parent.parent / "tests" / "parts" / "oracle_losses.json"
    path.write_text(json.dumps(values, indent=2) + "\n")


def nnunet(logits: torch.Tensor, target: torch.Tensor, sparse: torch.Tensor, regions: torch.Tensor) -> dict[str, float]:
    """nnU-Net's Dice is negative: 0 is worst, -1 best."""
    values = {"top_k exclusive": TopKLoss(k=10)(logits, target).item()}
    for batch in (False, True):
        dice = {"batch_dice": batch, "smooth": 1e-5, "ddp": False}
        for name, given, ignore in (("exclusive", target, None), ("ignore", sparse, IGNORE)):
            loss = DC_and_CE_loss(
                {**dice, "do_bg": False}, {}, ignore_label=ignore, dice_class=MemoryEfficientSoftDiceLoss
            )
            values[f"dice_ce {name} {batch}"] = loss(logits, given).item()
        loss = DC_and_BCE_loss({}, {**dice, "do_bg": True}, dice_class=MemoryEfficientSoftDiceLoss)
        values[f"dice_ce regions {batch}"] = loss(logits[:, :2], regions).item()
        loss = DC_and_topk_loss({**dice, "do_bg": False}, {"k": 10})
        values[f"dice_top_k exclusive {batch}"] = loss(logits, target).item()
    return values


def monais(logits: torch.Tensor, target: torch.Tensor, regions: torch.Tensor) -> dict[str, float]:
    """MONAI averages over heads too where a voxel has one label; its boundary loss is 0 for no prediction at all."""
    focal = monai.losses.FocalLoss(to_onehot_y=True, use_softmax=True, gamma=2.0)
    values = {
        "focal exclusive": focal(logits, target).item() * logits.shape[1],
        "focal regions": monai.losses.FocalLoss(gamma=2.0)(logits[:, :2], regions).item(),
    }
    one_label = {"to_onehot_y": True, "softmax": True}
    for batch in (False, True):
        for name, kind, heads in (("exclusive", one_label, 3), ("regions", {"sigmoid": True}, 2)):
            given, truth = logits[:, :heads], target if heads == 3 else regions
            only = {"include_background": heads == 2, "batch": batch, **kind}
            losses = {
                "dice": monai.losses.DiceLoss(smooth_nr=1e-5, smooth_dr=1e-5, **only),
                "tversky": monai.losses.TverskyLoss(alpha=0.3, beta=0.7, **only),
                "generalized_dice": monai.losses.GeneralizedDiceLoss(smooth_nr=0, smooth_dr=0, batch=batch, **kind),
            }
            values |= {f"{loss} {name} {batch}": value(given, truth).item() for loss, value in losses.items()}
            if batch:
                boundary = monai.losses.BoundaryLoss(include_background=heads == 2, **kind)
                values[f"boundary {name}"] = (boundary(given, truth) - boundary(best(truth, heads), truth)).item()
    return values


def best(truth: torch.Tensor, heads: int) -> torch.Tensor:
    """Logits of a perfect prediction."""
    on = truth if heads == 2 else torch.cat([truth == head for head in range(heads)], 1)
    return torch.where(on > 0, 1e3, -1e3)


if __name__ == "__main__":
    main()
