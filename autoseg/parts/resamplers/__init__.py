"""Voxels from one grid to another. A part defines ``Spec``; see spline.py for the contract."""
