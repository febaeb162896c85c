"""What there is: models, targets, report formats, graph inputs and outputs, packages."""
