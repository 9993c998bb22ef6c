"""The publisher: where messages come from."""
