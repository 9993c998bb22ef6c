"""The gateway service: messages out to browsers, and the dashboard."""
