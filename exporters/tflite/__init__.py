"""TFLite conversion: the converters as processes, their checks, the faster of two files."""
