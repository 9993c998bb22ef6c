"""Parses HTTP/1.1 strictly, so that no proxy in front of us can read the same bytes as other requests."""

import re
from typing import NamedTuple

from fanout.service.http_body import Refused, too_long

LONGEST_HEAD = 16 * 1024
MOST_HEADERS = 100
_request_line = re.compile(rb"[A-Z]{1,20} /[!-~]* HTTP/1\.([01])").fullmatch
_header = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*").fullmatch
_bare = re.compile(rb"\r(?!\n)|(?<!\r)\n").search
_chunk = re.compile(rb"([0-9A-Fa-f]{1,8})\r\n").match
_unfinished_chunk = re.compile(rb"[0-9A-Fa-f]{0,8}\r?").fullmatch


class Head(NamedTuple):
    """The head of a request.

    Attributes:
        lines: the request line and the headers that are passed on.
        length: bytes of the body; None if it comes in chunks.
        expects: whether the client waits for 100 Continue before it sends the body.
        upgrade: whether the request asks for an upgrade.
        forwarded: the value of X-Forwarded-For.
    """

    lines: list[bytes]
    length: int | None
    expects: bool
    upgrade: bool
    forwarded: str


def read_head(buffer: bytearray, longest_body: int, *, upgrades: bool) -> Head | None:
    """Take the head of a request from the buffer; return None while it is incomplete.

    Raises:
        Refused: 400 it is invalid or ambiguous, 413 the body is too long, 431 the head is too long.
    """
    if buffer[:2] == b"\r\n":  # some clients end a body with one
        del buffer[:2]
    end = buffer.find(b"\r\n\r\n")
    head = bytes(buffer[:end] if end >= 0 else buffer[: LONGEST_HEAD + 1].rstrip(b"\r"))
    if len(head) > LONGEST_HEAD:
        raise Refused(431, f"the headers have more than {LONGEST_HEAD} bytes")
    if _bare(head):
        raise Refused(400, "a line of the request must end with CR LF")
    if end < 0:
        return None
    del buffer[: end + 4]
    return _parse(head, longest_body, upgrades=upgrades)


def _parse(head: bytes, longest_body: int, *, upgrades: bool) -> Head:
    first, *lines = head.split(b"\r\n")
    request = _request_line(first)
    if not request:
        raise Refused(400, "the request must begin with a method, a path and HTTP/1.1")
    if len(lines) > MOST_HEADERS:
        raise Refused(431, f"the request has more than {MOST_HEADERS} headers")
    headers: dict[bytes, list[bytes]] = {}
    passed = [first]
    for line in lines:
        header = _header(line)
        if not header:
            raise Refused(400, "a header must be a name, a colon and a value, on one line")
        name = header[1].lower()
        headers.setdefault(name, []).append(header[2])
        if name not in {b"expect", b"transfer-encoding"} and (upgrades or name != b"upgrade"):
            passed.append(line)
    for name in (b"host", b"content-length", b"transfer-encoding"):
        if len(headers.get(name, ())) > 1:
            raise Refused(400, f"the request has {name.decode()} twice")
    if b"host" not in headers and request[1] == b"1":
        raise Refused(400, "the request has no host")
    return Head(
        passed,
        _length(headers, longest_body, chunks=request[1] == b"1"),
        [value.lower() for value in headers.get(b"expect", ())] == [b"100-continue"],
        upgrades and b"upgrade" in headers,
        b",".join(headers.get(b"x-forwarded-for", ())).decode("latin-1"),
    )


def _length(headers: dict[bytes, list[bytes]], longest_body: int, *, chunks: bool) -> int | None:
    [length], [coding] = headers.get(b"content-length", [b"0"]), headers.get(b"transfer-encoding", [b""])
    if coding:
        if b"content-length" in headers or coding.lower() != b"chunked" or not chunks:
            raise Refused(400, "a body has either a content-length or transfer-encoding: chunked")
        return None
    if not re.fullmatch(rb"[0-9]{1,18}", length):
        raise Refused(400, "the content-length must be a number")
    if int(length) > longest_body:
        raise too_long(longest_body)
    return int(length)


def read_chunks(buffer: bytearray, body: bytearray, longest_body: int) -> bool:
    """Move the chunks of a body from the buffer to `body`; return whether the last one was among them.

    Raises:
        Refused: 400 a chunk is invalid, 413 the body is too long.
    """
    while True:
        size = _chunk(buffer)
        if not size:
            if not _unfinished_chunk(buffer):
                raise Refused(400, "a chunk must begin with its size, and the body end with the last")
            return False
        begin, count = size.end(), int(size[1], 16)
        if len(body) + count > longest_body:
            raise too_long(longest_body)
        end = buffer[begin + count : begin + count + 2]
        if not b"\r\n".startswith(end):
            raise Refused(400, "a chunk must end with CR LF")
        if len(end) < 2:
            return False
        body += buffer[begin : begin + count]
        del buffer[: begin + count + 2]
        if not count:
            return True
