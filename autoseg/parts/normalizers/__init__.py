"""Intensity normalisation of one channel. A part defines ``Spec`` with ``apply(channel, mask)``."""
