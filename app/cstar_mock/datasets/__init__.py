"""Data as files, recipes and answers, and its way into the store."""
