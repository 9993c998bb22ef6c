"""From claims to a grant."""

import time
from typing import Any

import pytest

from fanout.service.login.claims import grant_of
from fanout.service.login.grant import EVERYTHING
from fanout.service.login.refusals import Forbidden, InvalidToken


def claims(**others: Any) -> dict[str, Any]:
    return {"sub": "ann", "exp": int(time.time()) + 60} | others


def grant(issuer: str = "", audience: str = "", **others: Any) -> Any:
    return grant_of(claims(**others), issuer, audience)


def test_a_token_permits_what_its_globs_say_and_no_more() -> None:
    one = grant(fanout={"subscribe": ["user:{sub}", "news*"], "publish": ["chat:?"]})
    assert [one.may_subscribe(name) for name in ("user:ann", "newsroom", "user:bob", "chat:1")] == [
        True,
        True,
        False,
        False,
    ]
    one.check_publish("chat:1")
    with pytest.raises(Forbidden, match="publish on the channel news"):
        one.check_publish("news")
    with pytest.raises(Forbidden, match="subscribe to the channel b"):
        one.check_subscribe("user:ann", "b")
    with pytest.raises(Forbidden, match="dashboard"):
        one.check_dashboard()


def test_who_may_read_a_channel_may_read_who_is_there_and_no_deeper() -> None:
    one = grant(fanout={"subscribe": ["n"]})
    assert [one.may_subscribe(name) for name in ("n", "n.presence", "m.presence", "n.presence.presence", ".presence")] == [
        True, True, False, False, False,
    ]  # fmt: skip


def test_a_token_without_claims_of_ours_permits_nothing() -> None:
    one = grant()
    assert not one.may_subscribe("n")
    assert not one.publish.match("n")
    assert not one.dashboard


def test_mercures_names_and_star_are_granted_and_its_templates_are_not() -> None:
    one = grant(mercure={"subscribe": ["https://example.com/books/1", "/users/{id}", "a?"], "publish": ["*"]})
    assert one.may_subscribe("https://example.com/books/1")
    assert one.may_subscribe("a?")
    assert not any(one.may_subscribe(name) for name in ("/users/1", "/users/{id}", "ab", "x"))
    one.check_publish("anything")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"exp": None}, "exp must be"),
        ({"exp": True}, "exp must be"),
        ({"exp": "1e9"}, "exp must be"),
        ({"exp": 4e9}, "exp must be"),
        ({"exp": -1}, "exp must be"),
        ({"exp": 10**30}, "exp must be"),
        ({"exp": [9999999999]}, "exp must be"),
        ({"exp": 1}, "has expired"),
        ({"nbf": int(time.time()) + 600}, "not valid yet"),
        ({"iat": int(time.time()) + 600}, "not valid yet"),
        ({"nbf": "0"}, "nbf must be"),
        ({"iat": False}, "iat must be"),
        ({"aud": "us"}, "for somebody else"),
        ({"aud": 5}, "aud must be"),
        ({"aud": ["us", 5]}, "aud must be"),
        ({"sub": ""}, "sub must be"),
        ({"sub": 5}, "sub must be"),
        ({"sub": None}, "sub must be"),
        ({"sub": "x" * 256}, "sub must be"),
        ({"sub": "a\x00"}, "control characters"),
        ({"sub": "a\nb"}, "control characters"),
        ({"sub": "ann.presence"}, "must not end"),
        ({"fanout": []}, "fanout must be"),
        ({"fanout": {"subscribe": "*"}}, "fanout.subscribe must be"),
        ({"fanout": {"subscribe": [["*"]]}}, "fanout.subscribe must be"),
        ({"fanout": {"publish": {"*": 1}}}, "fanout.publish must be"),
        ({"fanout": {"dashboard": 1}}, "dashboard must be"),
        ({"fanout": {"dashboard": "true"}}, "dashboard must be"),
        ({"fanout": {"subscribe": ["a"] * 1001}}, "more than 1000"),
        ({"mercure": "*"}, "mercure must be"),
        ({"mercure": {"publish": None}}, "mercure.publish must be"),
    ],
)
def test_a_claim_that_is_wrong_is_said(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidToken, match=says):
        grant(**wrong)


def test_a_token_must_expire() -> None:
    with pytest.raises(InvalidToken, match="no exp"):
        grant_of({"sub": "ann"}, "", "")


def test_issuer_and_audience_are_checked_where_they_are_set() -> None:
    assert grant("us", "here", iss="us", aud=["there", "here"]).subject == "ann"
    assert grant("us", iss="us")
    for issuer in ("them", None, ["us"], 5, "US"):
        with pytest.raises(InvalidToken, match="issuer"):
            grant("us", iss=issuer)
    for audience in ("there", [], ["HERE"], ""):
        with pytest.raises(InvalidToken, match="somebody else"):
            grant("", "here", aud=audience)
    with pytest.raises(InvalidToken, match="aud must be"):
        grant("", "here")


def test_clocks_may_differ_a_little() -> None:
    now = int(time.time())
    assert grant(exp=now - 8, nbf=now + 8, iat=now + 8)
    with pytest.raises(InvalidToken, match="has expired"):
        grant(exp=now - 11)


def test_a_grant_holds_as_long_as_its_token_is_accepted() -> None:
    assert 69 < grant().left() <= 70
    assert 0 <= grant(exp=int(time.time()) - 9).left() <= 1
    assert EVERYTHING.left() is None
