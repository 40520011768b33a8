"""Fidelity: every statement that the server makes about cStar's API, with its source."""
