"""What cStar's API says, without input or output: errors, periods, times, ids and names."""
