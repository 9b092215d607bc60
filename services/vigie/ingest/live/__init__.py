"""Live pictures: the frames of a tick as CMAF chunks, to however many viewers."""
