"""The mocked API: a module for each resource, the checks before it, and the envelope after it."""
