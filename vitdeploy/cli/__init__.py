"""The command line: one file a verb, with its command and its table."""
