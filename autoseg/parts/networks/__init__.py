"""Segmentation networks. A part defines ``Spec`` with ``build(inputs, heads)``; all scales come out, finest first.

A network may have ``maps(images)``, its finest feature maps (B, features, *patch), and ``last``, the convolution over
single voxels that makes the finest logits of them: prediction then applies it last of all.
"""
