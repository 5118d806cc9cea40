"""Classical methods that segment without a network: what a network has to be better than. One file is one method.

A method learns its few settings on training cases only. Those that start from seeds get them from ``core.evidence``:
how bright each label was in training cases, and where it lay.
"""
