"""Teams: how one is created, filled, changed, reset and deleted, and its keys."""
