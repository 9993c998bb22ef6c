"""Who issues tokens: keys, the file that a service reads them from, and tokens, also such as nobody should accept."""

import base64
import json
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

SECRET = b"0123456789abcdef0123456789abcdef"


def public_pem(private: Any) -> bytes:
    return bytes(
        private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def private_pem(private: Any) -> bytes:
    return bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


def new_key(algorithm: str) -> Any:
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(65537, 2048)


def jwk(private: Any, algorithm: str, kid: str | None = None) -> dict[str, Any]:
    names = {"EdDSA": "EdDSA", "ES256": "ES256", "RS256": "RS256"}
    found = jwt.get_algorithm_by_name(names[algorithm]).to_jwk(private.public_key(), as_dict=True)
    return dict(found) | {"use": "sig"} | ({"kid": kid} if kid else {})


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Issuer:
    """An issuer with one key; `file` holds what a service needs to check its tokens."""

    def __init__(self, folder: Path, algorithm: str = "EdDSA", kid: str | None = None) -> None:
        self.algorithm, self.kid = algorithm, kid
        self.file = folder / f"keys-{algorithm}"
        if algorithm == "HS256":
            self.key: Any = SECRET
            self.file.write_bytes(SECRET + b"\n")
        else:
            self.key = new_key(algorithm)
            self.file.write_bytes(public_pem(self.key))

    @property
    def settings(self) -> dict[str, str]:
        return {"AUTH": "on", "AUTH_KEYS_FILE": str(self.file)}

    def claims(
        self,
        sub: str | None = "ann",
        subscribe: Any = ("n",),
        publish: Any = ("n",),
        *,
        dashboard: Any = False,
        lasts: float = 3600,
        **others: Any,
    ) -> dict[str, Any]:
        now = int(time.time())
        permits = {"subscribe": list(subscribe), "publish": list(publish), "dashboard": dashboard}
        made = {"sub": sub, "iat": now, "exp": int(now + lasts), "fanout": permits} | others
        return {name: value for name, value in made.items() if value is not None}

    def token(self, *arguments: Any, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        return self.sign(self.claims(*arguments, **claims), headers)

    def sign(self, claims: Any, headers: dict[str, Any] | None = None) -> str:
        """Signs any claims under any header, as no library would."""
        named = {"kid": self.kid} if self.kid else {}
        head = {"alg": self.algorithm, "typ": "JWT"} | named | (headers or {})
        return self.seal(f"{part(head)}.{part(claims)}")

    def seal(self, text: str) -> str:
        signed = jwt.get_algorithm_by_name(self.algorithm).sign(text.encode(), self.key)
        return f"{text}.{part(signed)}"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
