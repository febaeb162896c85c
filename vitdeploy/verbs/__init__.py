"""The commands as functions of the package: their options as keyword arguments, the same names and defaults."""
