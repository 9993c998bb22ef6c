"""Presence: which clients are on a channel, over all gateways."""
