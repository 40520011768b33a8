"""Teams: creating, filling, changing, resetting and deleting them, and their keys."""
