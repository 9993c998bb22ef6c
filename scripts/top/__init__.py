"""A live view of every replica."""
