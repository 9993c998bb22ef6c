"""Reads and shows the log of the running stack."""
