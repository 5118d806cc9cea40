"""Objectives: what a training step makes small. A part defines ``Spec`` with ``streams`` and ``build``.

See ``Objective`` in ``parts.contracts`` and ``BuiltObjective`` in ``core.samples``.
"""
