"""The subscriber service: receives messages and calls the handler."""
