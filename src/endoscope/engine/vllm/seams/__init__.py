"""Where Endoscope touches vLLM: each file here takes hold of one thing that it has."""

VERSION = "0.32"
"""What the seams were written against; another version is refused at start-up."""
