"""Optimizers. A part defines ``Spec`` with ``build(parameters)``."""
