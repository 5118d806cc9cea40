"""Random changes of a batch. A part defines ``Spec``; draw first (pure data), then apply (no randomness).

``draw`` returns None or a dataclass, each field of which is a sequence or array with an entry for every patch: where
several processes share a batch, each applies the entries of its patches.
"""
