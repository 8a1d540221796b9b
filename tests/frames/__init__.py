"""An HTTP/2 server that does what servers must not, on demand; for the tests.

`server.FrameServer` is the whole; `faults` is what it can do wrong.
"""
