"""Charts: data points and their drawing."""
