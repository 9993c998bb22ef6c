"""The gateway: messages out to browsers, and the dashboard."""
