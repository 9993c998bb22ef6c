"""Login: who asks, and what that one may do. Tokens are JSON Web Tokens (RFC 7519) that somebody else issues."""
