"""The subscriber: what is done with a message."""
