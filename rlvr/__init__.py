"""The front door: command line, quickstart, reports."""
