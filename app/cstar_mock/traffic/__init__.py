"""The rules about one request: its key, limit, faults, cached answer and journal entry."""
