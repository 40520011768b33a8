"""The words of cStar's API, without I/O: errors, periods, times, ids and names."""
