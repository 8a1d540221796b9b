"""A stand-in for the Wrenn API, for development and tests; see README.md."""

VERSION = "0.1.5-standin"
