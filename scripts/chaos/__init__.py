"""Breaks a stack on purpose, and compares the accepted messages with the received ones."""
