"""Random changes of a batch. A part defines ``Spec``; draw first (pure data), then apply (no randomness).

Where several processes share a batch, each applies what was drawn for its patches: what ``draw`` returns is None or has
``of_patches(start, stop)``.
"""
