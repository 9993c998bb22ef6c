"""Your code: with `SOURCE=sources.<module>:<function>` the publisher publishes what that function yields."""
