"""A token, signed with the private key of make keys."""

import time
from pathlib import Path
from typing import Any

import jwt

from fanout.environment import Environment
from fanout.errors import SettingError
from fanout.service.login.globs import SUBJECT
from login.keys import read

LONGEST = 10 * 365 * 86400


def token(env: Environment, folder: Path) -> str:
    now = int(time.time())
    subject, lasts = env.text("SUB"), env.duration("EXP", "1h", 1, LONGEST)
    permits: dict[str, Any] = {name: globs(env, name.upper(), subject) for name in ("subscribe", "publish")}
    if env.text("DASHBOARD") not in {"", "0"}:
        permits["dashboard"] = True
    claims: dict[str, Any] = {"iat": now, "exp": now + int(lasts), "fanout": permits}
    named = {"sub": subject, "iss": env.text("AUTH_ISSUER"), "aud": env.text("AUTH_AUDIENCE")}
    claims |= {claim: value for claim, value in named.items() if value}
    return jwt.encode(claims, read(folder), algorithm="EdDSA")


def globs(env: Environment, name: str, subject: str) -> list[str]:
    found = [part.strip() for part in env.text(name).split(",") if part.strip()]
    if not subject and any(SUBJECT in glob for glob in found):
        raise SettingError(name, env.text(name), f"without {SUBJECT}, or SUB must say whose token it is")
    return found
