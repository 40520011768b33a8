"""The overview and the agents: router, service, metrics, periods, schemas."""
