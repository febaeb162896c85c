"""Accuracy of an artifact: the data sets, what is fed and asked of each picture, and the figures."""
