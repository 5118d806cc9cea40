"""What is corrected in a decided label, one mask at a time. A part defines ``Spec`` with

* ``apply(mask, spacing)``: a bool mask (z, y, x), or (y, x) of a 2-D image, and mm along its axes; returns a mask of
  the same shape and leaves the one it was given as it is;
* ``candidates()``: the settings that ``autoseg select`` tries, mildest first;
* ``whole_foreground``: whether the correction also makes sense on all labels taken together.

Voxels belong together when they share a face, an edge or a corner.
"""
