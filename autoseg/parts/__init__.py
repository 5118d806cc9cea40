"""What may be swapped: one file is one part, its file name is its name. Families are blind to each other."""
