"""Losses of one scale. A part defines ``Spec`` with ``build(labels)``, which gives ``loss(logits, target) -> scalar``.

One that also has ``measure(logits, target, spacing, progress)``, tensors of which each patch makes its own rows, and
``judge(measures)``, the loss of the batch that they are of, needs no logits of the whole batch in one place (see
``_terms``).
"""
