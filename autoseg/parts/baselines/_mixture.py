"""K-means and mixtures of Gaussians of points (count, channels), from centres that are given: nothing is random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEAST_VARIANCE = 1e-5  # of scaled intensities, whose range is about 1
ENOUGH = 1e-4  # gain of the mean log-likelihood below which a mixture has converged


def k_means(points: np.ndarray, centres: np.ndarray, rounds: int) -> np.ndarray:
    """Centres (classes, channels) after Lloyd's rounds; one that no point is nearest to stays."""
    from scipy.cluster.vq import vq

    for _ in range(rounds):
        nearest, _ = vq(points, centres)
        count = np.bincount(nearest, minlength=len(centres))
        sums = np.stack([np.bincount(nearest, along, len(centres)) for along in points.T], 1)
        moved = np.where(count[:, None] > 0, sums / np.maximum(count, 1)[:, None], centres)
        if np.allclose(moved, centres, rtol=0, atol=1e-6):
            break
        centres = moved
    return centres


@dataclass(frozen=True)
class Mixture:
    """Gaussians with full covariances."""

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    """(classes, channels, channels)."""

    @classmethod
    def around(cls, points: np.ndarray, centres: np.ndarray) -> Mixture:
        """Of the points that are nearest to each centre."""
        from scipy.cluster.vq import vq

        nearest, _ = vq(points, centres)
        return cls._of(points, np.eye(len(centres))[nearest] + 1e-6)

    @classmethod
    def _of(cls, points: np.ndarray, shares: np.ndarray) -> Mixture:
        """The M step (Dempster, Laird and Rubin 1977)."""
        total = shares.sum(0) + 1e-9
        means = shares.T @ points / total[:, None]
        covariances = []
        for share, mean, size in zip(shares.T, means, total):
            apart = points - mean
            covariances.append((share[:, None] * apart).T @ apart / size + LEAST_VARIANCE * np.eye(points.shape[1]))
        return cls(total / total.sum(), means, np.stack(covariances))

    def log_densities(self, points: np.ndarray) -> np.ndarray:
        """(count, classes): log of weight times density."""
        found = np.empty((len(points), len(self.means)))
        for number, (mean, covariance) in enumerate(zip(self.means, self.covariances)):
            lower = np.linalg.cholesky(covariance)
            apart = np.linalg.solve(lower, (points - mean).T)
            scale = np.log(np.diag(lower)).sum() + 0.5 * len(mean) * np.log(2 * np.pi)
            found[:, number] = np.log(self.weights[number]) - scale - 0.5 * (apart**2).sum(0)
        return found

    def fitted(self, points: np.ndarray, rounds: int) -> Mixture:
        """After rounds of expectation and maximisation."""
        mixture, before = self, -np.inf
        for _ in range(rounds):
            logs = mixture.log_densities(points)
            most = logs.max(1, keepdims=True)
            whole = most + np.log(np.exp(logs - most).sum(1, keepdims=True))
            mixture = self._of(points, np.exp(logs - whole))
            if whole.mean() - before < ENOUGH:
                break
            before = float(whole.mean())
        return mixture
