"""A file and its proof: manifest, store, parity, engine binding."""
