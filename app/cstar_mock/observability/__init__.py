"""The signals for operators: log lines, metrics, traces."""
