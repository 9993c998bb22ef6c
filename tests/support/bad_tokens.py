"""Tokens that nobody may accept, and headers that bring a token in a way that nobody may follow."""

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import jwt

from support.issuer import SECRET, Issuer, bearer, jwk, new_key, part, public_pem

Make = Callable[[Issuer], str]


def _others(issuer: Issuer, algorithm: str = "EdDSA", headers: dict[str, Any] | None = None) -> str:
    """Signed by somebody else."""
    return jwt.encode(issuer.claims(), new_key(algorithm), algorithm, headers=headers)


def _hmac(issuer: Issuer, secret: bytes, algorithm: str = "HS256") -> str:
    """Signed with what everyone knows, such as the public key, as a secret."""
    text = f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part(issuer.claims())}"
    hmac: Any = jwt.get_algorithm_by_name("HS256")
    return f"{text}.{part(hmac.sign(text.encode(), secret))}"


def _unsigned(issuer: Issuer, alg: Any, signature: str = "") -> str:
    return f"{part({'alg': alg, 'typ': 'JWT'})}.{part(issuer.claims())}.{signature}"


def _raw(issuer: Issuer, head: bytes, claims: bytes) -> str:
    return issuer.seal(f"{part(head)}.{part(claims)}")


def _claims_text(issuer: Issuer, more: str) -> bytes:
    return (json.dumps(issuer.claims())[:-1] + f",{more}}}").encode()


def _head(issuer: Issuer) -> bytes:
    return json.dumps({"alg": issuer.algorithm, "typ": "JWT"}).encode()


def _flipped(token: str) -> str:
    head, claims, signature = token.split(".")
    return f"{head}.{claims}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


def _other_claims(issuer: Issuer) -> str:
    head, _, signature = issuer.token("ann").split(".")
    return f"{head}.{part(issuer.claims('root', ['*'], ['*'], dashboard=True))}.{signature}"


def _last_bits(issuer: Issuer) -> str:
    """The same signature, spelled with other bits at its end, which are no part of it."""
    token = issuer.token()
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + letters[letters.index(token[-1]) ^ 1]


def _now(seconds: float) -> int:
    return int(time.time() + seconds)


KIDS = {
    "kid a path": "../../../../dev/null",
    "kid a file": "/etc/passwd",
    "kid sql": "' UNION SELECT 'secret' --",
    "kid a command": "| id; $(id)",
    "kid a url": "http://127.0.0.1:1/jwks",
    "kid with nul": "a\x00b",
    "kid huge": "k" * 5000,
    "kid empty": "",
    "kid unicode": "\u202eclave\ufeff",
}

TOKENS: dict[str, Make] = {
    "alg none": lambda i: _unsigned(i, "none"),
    "alg None": lambda i: _unsigned(i, "None"),
    "alg nOnE and a signature": lambda i: _unsigned(i, "nOnE", "AAAA"),
    "alg none and a real signature": lambda i: _unsigned(i, "none", i.token().rpartition(".")[2]),
    "alg empty": lambda i: _unsigned(i, "", "AAAA"),
    "alg null": lambda i: _unsigned(i, None, "AAAA"),
    "alg a list": lambda i: _unsigned(i, ["EdDSA"], "AAAA"),
    "alg an object": lambda i: _unsigned(i, {"EdDSA": 1}, "AAAA"),
    "alg a number": lambda i: _unsigned(i, 0, "AAAA"),
    "alg in small letters": lambda i: _unsigned(i, "eddsa", i.token().rpartition(".")[2]),
    "alg missing": lambda i: i.seal(f"{part({'typ': 'JWT'})}.{part(i.claims())}"),
    "alg HS512": lambda i: _hmac(i, SECRET, "HS512"),
    "alg of another type of key": lambda i: i.sign(i.claims(), {"alg": "RS256"}),
    "alg ES384": lambda i: i.sign(i.claims(), {"alg": "ES384"}),
    "public key as a secret": lambda i: _hmac(i, public_pem(i.key)),
    "public key as a secret, without its last line break": lambda i: _hmac(i, public_pem(i.key).strip()),
    "public key's bytes as a secret": lambda i: _hmac(i, i.key.public_key().public_bytes_raw()),
    "empty secret": lambda i: _hmac(i, b""),
    "some secret": lambda i: _hmac(i, SECRET),
    "another key": _others,
    "another key, of RSA": lambda i: _others(i, "RS256"),
    "another key, of P-256": lambda i: _others(i, "ES256"),
    "a key in the header": lambda i: _with_own_key(i, "jwk"),
    "a key's url in the header": lambda i: _others(i, headers={"jku": "http://127.0.0.1:1/jwks"}),
    "a certificate's url in the header": lambda i: _others(i, headers={"x5u": "http://127.0.0.1:1/cert"}),
    "a certificate in the header": lambda i: _others(i, headers={"x5c": ["MIIB"]}),
    "our key and jku": lambda i: i.sign(i.claims(), {"jku": "http://127.0.0.1:1/jwks"}),
    "our key and jwk": lambda i: i.sign(i.claims(), {"jwk": jwk(i.key, "EdDSA")}),
    "our key and x5u": lambda i: i.sign(i.claims(), {"x5u": "http://127.0.0.1:1"}),
    "crit": lambda i: i.sign(i.claims(), {"crit": ["exp"]}),
    "crit empty": lambda i: i.sign(i.claims(), {"crit": []}),
    "crit b64": lambda i: i.sign(i.claims(), {"crit": ["b64"], "b64": False}),
    "b64 false": lambda i: i.sign(i.claims(), {"b64": False}),
    "kid a number": lambda i: i.sign(i.claims(), {"kid": 5}),
    "kid a list": lambda i: i.sign(i.claims(), {"kid": ["a"]}),
    "kid an object": lambda i: i.sign(i.claims(), {"kid": {"$ne": 1}}),
    "typ of something else": lambda i: i.sign(i.claims(), {"typ": "dpop+jwt"}),
    "typ an object": lambda i: i.sign(i.claims(), {"typ": {}}),
    "nested": lambda i: i.seal(f"{part({'alg': 'EdDSA', 'cty': 'JWT'})}.{part(i.token().encode())}"),
    "nested without cty": lambda i: i.seal(f"{part({'alg': 'EdDSA'})}.{part(i.token().encode())}"),
    "encrypted": lambda _: ".".join([part({"alg": "dir", "enc": "A128GCM"}), "", "AAAA", "AAAA", "AAAA"]),
    "expired": lambda i: i.token(lasts=-11),
    "expired long ago": lambda i: i.token(exp=1),
    "exp missing": lambda i: i.sign({"sub": "ann", "fanout": {"subscribe": ["n"]}}),
    "exp true": lambda i: i.token(exp=True),
    "exp text": lambda i: i.token(exp=str(_now(60))),
    "exp with a fraction": lambda i: i.token(exp=_now(60) + 0.5),
    "exp null": lambda i: i.sign(i.claims() | {"exp": None}),
    "exp a list": lambda i: i.token(exp=[_now(60)]),
    "exp negative": lambda i: i.token(exp=-1),
    "exp after the end of time": lambda i: i.token(exp=10**18),
    "exp infinite": lambda i: _raw(i, _head(i), b'{"sub":"ann","exp":1e999,"fanout":{"subscribe":["n"]}}'),
    "exp NaN": lambda i: _raw(i, _head(i), b'{"sub":"ann","exp":NaN,"fanout":{"subscribe":["n"]}}'),
    "exp of 5,000 digits": lambda i: _raw(i, _head(i), b'{"sub":"ann","exp":' + b"9" * 5000 + b"}"),
    "exp twice": lambda i: _raw(i, _head(i), _claims_text(i, f'"exp":{_now(60)}')),
    "fanout twice": lambda i: _raw(i, _head(i), _claims_text(i, '"fanout":{"subscribe":["*"]}')),
    "subscribe twice": lambda i: _raw(
        i, _head(i), f'{{"exp":{_now(60)},"fanout":{{"subscribe":[],"subscribe":["*"]}}}}'.encode()
    ),
    "alg twice": lambda i: _raw(i, b'{"alg":"none","alg":"EdDSA"}', json.dumps(i.claims()).encode()),
    "sub spelled twice": lambda i: _raw(i, _head(i), _claims_text(i, '"s\\u0075b":"root"')),
    "nbf in the future": lambda i: i.token(nbf=_now(60)),
    "iat in the future": lambda i: i.token(iat=_now(60)),
    "nbf text": lambda i: i.token(nbf="0"),
    "iat true": lambda i: i.token(iat=True),
    "for somebody else": lambda i: i.token(aud="elsewhere"),
    "aud a number": lambda i: i.token(aud=5),
    "sub a number": lambda i: i.token(5),
    "sub empty": lambda i: i.token(""),
    "sub with nul": lambda i: i.token("a\x00"),
    "claims a list": lambda i: i.sign([i.claims()]),
    "claims text": lambda i: i.sign("ann"),
    "claims null": lambda i: i.sign(None),
    "claims not JSON": lambda i: _raw(i, _head(i), b"{sub: ann}"),
    "claims in UTF-16": lambda i: _raw(i, _head(i), json.dumps(i.claims()).encode("utf-16")),
    "claims with a byte order mark": lambda i: _raw(i, _head(i), b"\xef\xbb\xbf" + json.dumps(i.claims()).encode()),
    "claims not UTF-8": lambda i: _raw(i, _head(i), b'{"sub":"\xff"}'),
    "claims deep": lambda i: _raw(i, _head(i), b"[" * 5000),
    "header a list": lambda i: _raw(i, b"[]", json.dumps(i.claims()).encode()),
    "header empty": lambda i: _raw(i, b"{}", json.dumps(i.claims()).encode()),
    "fanout a list": lambda i: i.token(fanout=["*"]),
    "subscribe text": lambda i: i.token(fanout={"subscribe": "*"}),
    "subscribe of lists": lambda i: i.token(fanout={"subscribe": [["*"]]}),
    "dashboard a number": lambda i: i.token(fanout={"dashboard": 1}),
    "signature flipped": lambda i: _flipped(i.token()),
    "signature of other claims": _other_claims,
    "signature cut": lambda i: i.token()[:-4],
    "signature with other last bits": _last_bits,
    "signature missing": lambda i: i.token().rpartition(".")[0] + ".",
    "two parts": lambda i: i.token().rpartition(".")[0],
    "four parts": lambda i: i.token() + ".AAAA",
    "one part": lambda i: i.token().replace(".", ""),
    "padded": lambda i: _padded(i.token()),
    "in the other alphabet of base64": lambda i: i.token().replace("-", "+").replace("_", "/") + "+/",
    "only dots": lambda _: "..",
    "not a token": lambda _: "letmein",
    "a token after the token": lambda i: f"{i.token()}{i.token()}",
    "a comma and another": lambda i: f"{i.token()},{i.token()}",
    "large": lambda i: i.token(more="x" * 9000),
    "quoted": lambda i: f'"{i.token()}"',
    "JSON form": lambda i: base64.urlsafe_b64encode(
        json.dumps(dict(zip(("protected", "payload", "signature"), i.token().split("."), strict=True))).encode()
    ).decode(),
} | {name: (lambda i, kid=kid: _others(i, headers={"kid": kid})) for name, kid in KIDS.items()}

HEADERS: dict[str, Callable[[Issuer], list[tuple[str, str]]]] = {
    "two Authorization headers": lambda i: [("Authorization", f"Bearer {i.token()}")] * 2,
    "two of different tokens": lambda i: [
        ("Authorization", f"Bearer {i.token()}"), ("Authorization", f"Bearer {_others(i)}"),
    ],
    "Basic": lambda i: [("Authorization", f"Basic {i.token()}")],
    "no scheme": lambda i: [("Authorization", i.token())],
    "no token": lambda _: [("Authorization", "Bearer")],
    "only a space": lambda _: [("Authorization", "Bearer  ")],
    "two spaces": lambda i: [("Authorization", f"Bearer  {i.token()}")],
    "a tab": lambda i: [("Authorization", f"Bearer\t{i.token()}")],
    "Bearer twice": lambda i: [("Authorization", f"Bearer Bearer {i.token()}")],
    "something after it": lambda i: [("Authorization", f"Bearer {i.token()} x")],
    "bytes that are not ASCII": lambda i: [("Authorization", f"Bearer {i.token()}\xff")],
    "an empty Authorization beside a good cookie": lambda i: [
        ("Authorization", ""), ("Cookie", f"fanout_token={i.token()}"),
    ],
    "two cookies": lambda i: [("Cookie", f"fanout_token={i.token()}; fanout_token={i.token('bob')}")],
    "two headers of cookies": lambda i: [("Cookie", f"fanout_token={i.token()}")] * 2,
    "a cookie of another name": lambda i: [("Cookie", f"token={i.token()}")],
    "a cookie in quotes": lambda i: [("Cookie", f'fanout_token="{i.token()}"')],
    "a cookie of another's token": lambda i: [("Cookie", f"fanout_token={_others(i)}")],
    "another header": lambda i: [("X-Authorization", f"Bearer {i.token()}")],
    "the proxy's header": lambda i: [("Proxy-Authorization", f"Bearer {i.token()}")],
}  # fmt: skip


def _with_own_key(issuer: Issuer, name: str) -> str:
    key = new_key("EdDSA")
    return jwt.encode(issuer.claims(), key, "EdDSA", headers={name: jwk(key, "EdDSA")})


def _padded(token: str) -> str:
    return ".".join(one + "=" * (-len(one) % 4) for one in token.split(".")) + "=="


def good(issuer: Issuer) -> dict[str, str]:
    return bearer(issuer.token())
