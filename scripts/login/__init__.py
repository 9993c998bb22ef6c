"""make keys and make token: keys for the login, and tokens signed with them."""
