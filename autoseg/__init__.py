"""autoseg: self-configuring segmentation of medical images."""
