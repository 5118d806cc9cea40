"""Further inputs of a network, beside the image. A part defines ``Spec``; ``contracts.Input`` says what it must have.

A part says what the network gets of it (``group``), how it is read by box of a prepared case, how it is augmented with
the batch (draw first, then apply), how it is made for a case to be predicted, and how the network sees it (``encode``).
"""
