"""The control API, by which a test controls the server and reads its journal: one router for each resource."""
