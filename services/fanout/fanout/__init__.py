"""Real-time notifications over Redis Pub/Sub: the library that every Fanout service imports."""
