"""How the channels of a case come onto one grid: by what their headers say, and by registration where it is asked for.

Places are mm in the patient's space as ITK has it (x, y, z; LPS), a transform maps places of the reference channel to
those of the channel that is brought onto it.
"""
