"""The mocked API: one package a resource, with the same file names in each."""
