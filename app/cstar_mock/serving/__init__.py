"""One running server: the process, its workers, the connection, the way out."""
