"""Objectives: what a training step makes small. A part defines ``Spec`` with ``streams`` and ``build``.

See ``Objective`` and ``BuiltObjective`` in ``parts.contracts``.
"""
