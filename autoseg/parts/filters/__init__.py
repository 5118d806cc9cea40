"""What is done to the voxels of one channel before it is normalised. A part defines ``Spec`` with ``apply(channel,
spacing)``.

Filters see a channel as it lies in its file: noise and bias field belong to the voxels that were acquired, and what is
found does not depend on the grid of a configuration.

A filter may also have ``estimate(channel, spacing)``, an array that is slow to find and small to keep, and
``apply_estimate(channel, spacing, estimate)``; both together must be ``apply``. Preparing keeps estimates for the next
time (``preprocessing/estimates.py``).
"""
