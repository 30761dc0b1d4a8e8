"""Several rows in one publish: JSON lines or columns, compressed. The format is docs/packing.md, byte by byte."""
