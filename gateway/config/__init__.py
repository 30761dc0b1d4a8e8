"""Settings: declared once, checked whole, reported all at once. Pure but for reading the files."""
