"""What happens to one request by rule: its key, its limit, its faults, its cached answer, its journal entry."""
