"""Yardstick: a small fixed network that is timed in turns with a case, as a measure of the machine at that moment."""
