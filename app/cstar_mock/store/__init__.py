"""The rows, and everything that knows SQL engines: models, statements that write, roll-ups, migrations."""
