"""Losses of one scale. A part defines ``Spec`` with ``build(labels)``."""
