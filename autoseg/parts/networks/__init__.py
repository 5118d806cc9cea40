"""Segmentation networks. A part defines ``Spec`` with ``build(channels, heads)``; all scales come out, finest first."""
