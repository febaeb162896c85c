"""The verbs of the command line as functions: one file a verb, with its request and its outcome."""
