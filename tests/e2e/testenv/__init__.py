"""What the end-to-end tests run: the real programs and the stand-in server."""
