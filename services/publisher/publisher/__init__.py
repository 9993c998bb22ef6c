"""The publisher service: where messages come from."""
