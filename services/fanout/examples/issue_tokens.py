"""A FastAPI app that issues tokens for the gateway to users who are logged in with it: `uvicorn issue_tokens:app`.

PRIVATE_KEY names the private key that `make keys` creates. In place of `user`, ask your own login.
"""

import os
import time
from pathlib import Path
from typing import Annotated

import jwt
from fastapi import Depends, FastAPI, Header, HTTPException, Response

app = FastAPI()


def user(x_session: Annotated[str, Header()] = "") -> str:
    """Return whose request this is: here of a session that everyone could guess."""
    if not x_session.isidentifier():
        raise HTTPException(401, "log in first")
    return x_session


def issued(name: Annotated[str, Depends(user)]) -> str:
    permits = {"subscribe": ["user:{sub}", "news"], "publish": ["chat"]}
    claims = {"sub": name, "exp": int(time.time()) + 600, "fanout": permits}
    return jwt.encode(claims, Path(os.environ["PRIVATE_KEY"]).read_text(), algorithm="EdDSA")


@app.get("/token")
def token(token: Annotated[str, Depends(issued)]) -> dict[str, str]:
    """For a page, which gives it to the gateway in a header or a WebSocket's first frame."""
    return {"token": token}


@app.get("/authorize", status_code=204)
def authorize(token: Annotated[str, Depends(issued)], response: Response) -> None:
    """For a proxy that asks here, and passes the header on to the gateway."""
    response.headers["Authorization"] = f"Bearer {token}"
