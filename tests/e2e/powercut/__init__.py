"""A file system in memory that remembers what a power cut would have left of it."""
