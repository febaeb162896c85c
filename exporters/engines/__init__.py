"""TensorRT engines: built here, on a device through its link, or by trtexec."""
