"""Publishes probe messages, and reports who received what."""
