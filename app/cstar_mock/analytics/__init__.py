"""The figures: their meaning as SQL, and the queries that compute them."""
