"""A gateway that is only its protocol: it asks for tokens, forgets nothing, and misbehaves on demand."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from typing import Any, Literal

from aiohttp import WSMsgType, web

from support.service import ROOT

MODULE = ROOT / "services/gateway/gateway/fanout.js"
JAVASCRIPT = {"Content-Type": "text/javascript"}
PAGE = "<!doctype html><title>Client</title>"

Frame = dict[str, Any]
Handler = Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]


class FakeGateway:
    """What it was asked and told is in its lists, which tests read from their own thread.

    `tokens` are the tokens that are taken, each with the seconds that it holds; None asks for none. Without `places` it
    does not say where a channel begins.
    """

    def __init__(self) -> None:
        self.url = ""
        self.tokens: dict[str, float] | None = None
        self.issued: list[str] = []
        self.websocket: Literal["open", "refused", "silent"] = "open"
        self.history: dict[str, list[Frame]] = {}
        self.places = True
        self.frames: list[list[Frame]] = []
        self.times: list[list[float]] = []
        self.streams: list[tuple[str, str]] = []
        self.origin = ""
        self.posts: list[tuple[str, str, Any]] = []
        self.post_statuses: list[int] = []
        self.refused: dict[str, str] = {}
        self.denied: set[str] = set()
        self._sockets: dict[web.WebSocketResponse, set[str]] = {}
        self._open: dict[asyncio.Task[Any], tuple[web.StreamResponse, dict[str, str]]] = {}
        self._loop = asyncio.new_event_loop()

    @property
    def connections(self) -> int:
        return len(self._sockets) + len(self._open)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def publish(self, channel: str, data: Any, type_: str = "notification") -> None:
        self.run(self._publish(channel, data, type_))

    def replay(self, channel: str, place: int) -> None:
        """Sends an old message again, as after a rollback."""
        self.run(self._give(channel, self.history[channel][place]))

    def say(self, frame: Frame) -> None:
        """Sends a frame to all WebSockets."""
        self.run(self._say(frame))

    def cut(self, code: int | None = None) -> None:
        """Closes all connections, WebSockets with that code or without a word."""
        self.run(self._cut(code))

    async def _publish(self, channel: str, data: Any, type_: str = "notification") -> None:
        history = self.history.setdefault(channel, [])
        seq = str(len(history) + 1)
        place = {"streamid": f"1-{seq}", "streamseq": seq}
        history.append({"channel": channel, "source": f"/{channel}/x", "id": seq, "type": type_, "data": data} | place)
        await self._give(channel, history[-1])

    async def _give(self, channel: str, message: Frame) -> None:
        for socket, channels in list(self._sockets.items()):
            if channel in channels:
                await socket.send_json(_framed(message))
        for response, places in list(self._open.values()):
            if channel in places:
                await response.write(_event(message, places))

    async def _say(self, frame: Frame) -> None:
        for socket in list(self._sockets):
            await socket.send_json(frame)

    async def _cut(self, code: int | None) -> None:
        for socket in list(self._sockets):
            if code is None:
                socket._req.transport.abort()  # type: ignore[union-attr]
            else:
                await socket.close(code=code)
        for task in list(self._open):
            task.cancel()

    def _missed(self, channel: str, since: str) -> list[Frame]:
        history = self.history.get(channel, [])
        return history[int(since.rpartition(":")[2]) if ":" in since else 0 :] if since else []

    def _holds(self, token: str) -> float | None:
        return None if self.tokens is None else self.tokens.get(token)

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        if self.websocket == "silent":
            await asyncio.sleep(3600)
        if self.websocket == "refused":
            raise web.HTTPForbidden
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        frames: list[Frame] = []
        times: list[float] = []
        self.frames.append(frames)
        self.times.append(times)
        self._sockets[socket] = set()
        expiring: asyncio.Task[Any] | None = None
        try:
            async for received in socket:
                assert received.type == WSMsgType.TEXT
                command = json.loads(received.data)
                frames.append(command)
                times.append(time.monotonic())
                if "token" in command and self.tokens is None:
                    await socket.send_json({"error": "there is no login here"})
                elif "token" in command:
                    if (life := self._holds(command["token"])) is None:
                        await socket.close(code=4401, message=b"not this token")
                        continue
                    if expiring:
                        expiring.cancel()
                    expiring = asyncio.create_task(self._expire(socket, life))
                    await socket.send_json({"token": {"sub": "ann", "exp": time.time() + life}})
                elif self.tokens is not None and expiring is None:
                    await socket.close(code=4401)
                else:
                    await self._execute(socket, command)
        finally:
            del self._sockets[socket]
            if expiring:
                expiring.cancel()
        return socket

    @staticmethod
    async def _expire(socket: web.WebSocketResponse, life: float) -> None:
        await asyncio.sleep(life)
        await socket.close(code=4401, message=b"the token has expired")

    async def _execute(self, socket: web.WebSocketResponse, command: Frame) -> None:
        channels = self._sockets[socket]
        if name := command.get("unsubscribe"):
            channels.discard(name)
            await socket.send_json({"unsubscribed": name})
        elif (name := command["subscribe"]) in self.refused:
            await socket.send_json({"error": self.refused[name], "channel": name})
        else:
            at = len(self.history.get(name, []))
            missed = self._missed(name, command.get("since", ""))
            await socket.send_json(
                {"subscribed": name} | ({} if missed or not self.places else {"event_id": f"1-{at}:{at}"})
            )
            for message in missed:
                await socket.send_json(_framed(message))
            channels.add(name)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.streams.append((request.rel_url.raw_path_qs, token))
        if self.tokens is not None and self._holds(token) is None:
            return web.json_response({"detail": "not this token"}, status=401)
        asked: list[tuple[str, str]] = []
        if name := request.match_info.get("channel"):
            asked.append((name, request.query.get("since", "")))
        parameters = [*request.query.items(), ("", "")]
        for (key, value), (after, since) in pairwise(parameters):
            if key == "channel":
                asked.append((value, since if after == "since" else ""))
        for name, _ in asked:
            if name in self.denied:
                return web.json_response({"detail": f"{name} may not be read"}, status=403)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"retry: 1000\n\n: \n\n")
        places = {name: since if ":" in since else "-" for name, since in asked}
        for name, since in asked:
            for message in self._missed(name, since):
                await response.write(_event(message, places))
        task = asyncio.current_task()
        assert task
        self._open[task] = (response, places)
        try:
            await asyncio.sleep(self._holds(token) or 3600)
            await response.write(b"event: expired\ndata: {}\n\n")
        finally:
            del self._open[task]
        return response

    async def _post(self, request: web.Request) -> web.StreamResponse:
        key = request.headers["Idempotency-Key"]
        self.posts.append((key, request.headers.get("Authorization", ""), await request.json()))
        status = self.post_statuses.pop(0) if self.post_statuses else 202
        if status == 202:
            await self._publish(request.match_info["channel"], await request.json())
        return web.json_response({"source": "/c/x", "id": "1"} if status == 202 else {"detail": "no"}, status=status)

    async def _presence(self, request: web.Request) -> web.StreamResponse:
        channel = request.match_info["channel"]
        members = [f"member {n}" for n, channels in enumerate(self._sockets.values(), 1) if channel in channels]
        return web.json_response({"channel": channel, "members": [{"sub": sub, "connections": 1} for sub in members]})

    async def _token(self, _: web.Request) -> web.StreamResponse:
        """The next of the tokens that are issued; the last one again and again."""
        self.issued.append("")
        tokens = list(self.tokens or {})
        return web.json_response({"token": tokens[min(len(self.issued), len(tokens)) - 1]})

    @web.middleware
    async def _allow(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = web.Response() if request.method == "OPTIONS" else await handler(request)
        if self.origin and not answer.prepared:
            answer.headers["Access-Control-Allow-Origin"] = self.origin
            answer.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type, Idempotency-Key"
        return answer

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._allow])
        app.router.add_get("/", _answer(PAGE, {"Content-Type": "text/html"}))
        app.router.add_get("/fanout.js", _answer(MODULE.read_text(), JAVASCRIPT))
        app.router.add_get("/ws", self._websocket)
        app.router.add_get("/events", self._events)
        app.router.add_get("/channels/{channel}/events", self._events)
        app.router.add_post("/channels/{channel}/messages", self._post)
        app.router.add_get("/channels/{channel}/presence", self._presence)
        app.router.add_get("/token", self._token)
        return app

    async def _start(self) -> web.AppRunner:
        runner = web.AppRunner(self.app(), handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        return runner


def _answer(text: str, headers: dict[str, str]) -> Handler:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text=text, headers=headers)

    return answer


def _framed(message: Frame) -> Frame:
    return {"message": message, "event_id": f"{message['streamid']}:{message['streamseq']}"}


def _event(message: Frame, places: dict[str, str]) -> bytes:
    """As the gateway writes it: its id has the place of each channel, which this moves on."""
    places[message["channel"]] = f"{message['streamid']}:{message['streamseq']}"
    return f"id: {','.join(places.values())}\nevent: message\ndata: {json.dumps(message)}\n\n".encode()


@contextmanager
def fake_gateway() -> Iterator[FakeGateway]:
    gateway = FakeGateway()
    thread = threading.Thread(target=gateway._loop.run_forever)
    thread.start()
    runner = gateway.run(gateway._start())
    try:
        yield gateway
    finally:
        with suppress(ConnectionError):
            gateway.cut()
        gateway.run(runner.cleanup())
        gateway._loop.call_soon_threadsafe(gateway._loop.stop)
        thread.join()
        gateway._loop.close()
