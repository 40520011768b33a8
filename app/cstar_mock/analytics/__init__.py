"""The figures: what each means, as SQL, and the statements that compute them."""
