"""The checks of `selftest`, one file a group; `table` lists them."""
