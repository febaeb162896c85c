"""Every process that we start: one job in, one reply out; and the connection to where it runs."""
