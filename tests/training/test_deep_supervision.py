"""Laws of deep supervision."""

import pytest
import torch

from autoseg.core.inputs import InputSpec
from autoseg.core.samples import Samples
from autoseg.training.deep_supervision import DeepSupervision, resized, scale_weights


def test_weights_halve_and_the_coarsest_scale_is_left_out():
    assert scale_weights(4) == pytest.approx((4 / 7, 2 / 7, 1 / 7, 0))
    assert scale_weights(4, 0.1) == pytest.approx((1 / 1.11, 0.1 / 1.11, 0.01 / 1.11, 0))
    assert scale_weights(4, 0.0) == (1.0, 0.0, 0.0, 0.0)
    assert scale_weights(1) == (1.0,)
    assert scale_weights(2) == (1.0, 0.0)


@pytest.mark.parametrize("shape", [(4, 6, 5), (8, 3, 10), (3, 5, 4), (8, 12, 10)])
def test_a_resized_target_is_torchs_nearest_exact(shape):
    target = torch.randint(0, 5, (2, 8, 12, 10), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    expected = torch.nn.functional.interpolate(target[:, None].float(), shape, mode="nearest-exact")[:, 0]
    assert torch.equal(resized(target, shape).float(), expected)
    assert resized(target, shape).dtype == torch.uint8


def test_the_loss_is_the_weighted_sum_over_scales():
    target = torch.randint(0, 2, (1, 8, 8), generator=torch.Generator().manual_seed(0))
    logits = [torch.zeros(1, 2, size, size) for size in (8, 4, 2)]

    def share(scale, labels):
        assert scale.shape[2:] == labels.shape[1:]
        return labels.float().mean()

    expected = 2 / 3 * target.float().mean() + 1 / 3 * resized(target, (4, 4)).float().mean()
    seen = InputSpec.of_image(1)
    samples = Samples(torch.zeros(1, 1, 8, 8), target, ("a",), (1.0, 1.0), seen)
    supervision = DeepSupervision.of(share)
    assert supervision.judge(supervision.measure(logits, samples)).item() == pytest.approx(expected.item())


def test_every_scale_has_its_spacing_and_all_the_progress():
    seen = []

    class Noting:
        def measure(self, logits, target, spacing, progress):
            seen.append((tuple(spacing), progress, tuple(target.shape[1:])))
            return [logits]

        def judge(self, measures):
            return measures[0].mean()

    target = torch.zeros(1, 8, 12, dtype=torch.uint8)
    samples = Samples(torch.zeros(1, 1, 8, 12), target, ("a",), (2.0, 0.5), InputSpec.of_image(1), 0.25)
    DeepSupervision.of(Noting()).measure([torch.zeros(1, 2, *size) for size in ((8, 12), (8, 6), (4, 3))], samples)
    assert seen == [((2.0, 0.5), 0.25, (8, 12)), ((2.0, 1.0), 0.25, (8, 6))]
