"""Named graph rewrites: exact changes that make a file faster or safe in half precision."""
