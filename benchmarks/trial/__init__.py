"""One trial: the process that times, its parent, and the device it runs on."""
