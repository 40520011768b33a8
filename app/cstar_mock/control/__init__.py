"""The control API: a test tells the server what to be, and asks it what it saw. One router a thing."""
