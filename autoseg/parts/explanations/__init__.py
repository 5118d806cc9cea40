"""Ways to tell by which voxels a network decided for a label. One file is one way."""
