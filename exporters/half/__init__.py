"""Half precision: the fp16 graph, and the runner that rounds every tensor after every node."""
