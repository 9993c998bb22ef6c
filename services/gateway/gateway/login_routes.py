"""The login of browsers: a cookie that holds a token, for the dashboard and for EventSource, which sends no headers."""

import time

import msgspec
from aiohttp import hdrs, web

from fanout.service.http_body import Refused
from fanout.service.login.gate import Gate
from fanout.service.login.grant import Grant

LONGEST_COOKIE = 4096
"""Bytes of a cookie's name and value that browsers keep (RFC 6265)."""
NO_STORE = {hdrs.CACHE_CONTROL: "no-store"}


class _Given(msgspec.Struct, forbid_unknown_fields=True):
    token: str


class LoginRoutes:
    """`GET /login` tells who is logged in, `POST /login` sets the cookie, `POST /logout` takes it away."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the routes."""
        router.add_get("/login", self._who, allow_head=False)
        router.add_post("/login", self._login)
        router.add_post("/logout", self._logout)

    async def _who(self, request: web.Request) -> web.StreamResponse:
        if not self._gate.on:
            return web.json_response({"login": "off"}, headers=NO_STORE)
        return self._answer(await self._gate.admit(request.remote or "", request.method, request.headers))

    async def _login(self, request: web.Request) -> web.StreamResponse:
        self._check(request)
        if request.content_type != "application/json":  # what a form of another site could not send
            raise Refused(415, "the body must be JSON, with Content-Type: application/json")
        try:
            given = msgspec.json.decode(await request.read(), type=_Given)
        except (ValueError, RecursionError):
            raise Refused(400, 'the body must be {"token": "<jwt>"}') from None
        grant = await self._gate.verify(given.token, self._gate.client(request.remote or "", request.headers))
        if len(self._gate.cookie) + len(given.token) > LONGEST_COOKIE:
            raise Refused(400, f"the token is too long for a cookie, which has at most {LONGEST_COOKIE} bytes")
        answer = self._answer(grant)
        answer.headers[hdrs.SET_COOKIE] = self._cookie(given.token, max(1, int((grant.expires or 0) - time.time())))
        return answer

    async def _logout(self, request: web.Request) -> web.StreamResponse:
        self._check(request)
        return web.Response(status=204, headers=NO_STORE | {hdrs.SET_COOKIE: self._cookie("", 0)})

    def _check(self, request: web.Request) -> None:
        if not self._gate.on:
            raise Refused(404, "there is no login here (AUTH=off)")
        self._gate.check_own_page(request.method, request.headers)

    def _cookie(self, value: str, seconds: int) -> str:
        """Return the cookie; without a path it is for where the gateway is, also behind a path of a proxy."""
        return f"{self._gate.cookie}={value}; Max-Age={seconds}; HttpOnly; Secure; SameSite=Strict"

    @staticmethod
    def _answer(grant: Grant) -> web.Response:
        who = {"sub": grant.subject, "exp": grant.expires}
        return web.json_response({"login": "on", "token": who, "dashboard": grant.dashboard}, headers=NO_STORE)
