"""A load on a running server that checks every answer."""
