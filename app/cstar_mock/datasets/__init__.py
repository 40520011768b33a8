"""Data sets: their format, files, recipes and answers."""
