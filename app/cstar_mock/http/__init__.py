"""The outer layers, in pure ASGI, and the handlers that put every error into the envelope."""
