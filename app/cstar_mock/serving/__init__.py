"""One running server: the process, its workers, the connection, the shutdown."""
