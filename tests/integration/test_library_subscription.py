"""fanout.Subscription, as somebody's program uses it."""

import asyncio
import logging

import pytest

from fanout import Message, NameTaken, Publisher, RefusedByRedis, SettingError, StartFrom, Subscription
from fanout.environment import Environment
from fanout.settings import read_settings
from support.redis_server import RedisServer
from support.waiting import eventually_async

WRONG = "redis://:wrong@127.0.0.1:{}/0"


async def publish(server: RedisServer, *data: object, channel: str = "orders") -> None:
    async with Publisher(server.url) as publisher:
        await publisher.publish_all(channel, data)


async def next_of(server: RedisServer, **options: object) -> object:
    async with Subscription(server.url, "orders", start_from="earliest", **options) as messages:  # type: ignore[arg-type]
        return (await anext(messages)).data


async def test_a_name_goes_on_after_the_last_message_that_was_handled(server: RedisServer) -> None:
    await publish(server, 1, 2, 3)
    async with Subscription(server.url, "orders", name="billing", start_from="earliest") as messages:
        async for message in messages:
            if message.data == 2:
                break  # counts as handled
    assert await next_of(server, name="billing") == 3


async def test_an_error_in_the_block_does_not_count_the_message_in_hand(server: RedisServer) -> None:
    await publish(server, 1, 2, 3)
    with pytest.raises(ZeroDivisionError):
        async with Subscription(server.url, "orders", name="billing", start_from="earliest") as messages:
            async for message in messages:
                1 // (2 - message.data)
    assert await next_of(server, name="billing") == 2


async def test_the_next_loop_goes_on_where_the_last_one_was_left(server: RedisServer) -> None:
    await publish(server, 1, 2, 3, 4)
    async with Subscription(server.url, "orders", name="billing", start_from="earliest") as messages:
        got = [(await anext(messages)).data]
        async for message in messages:
            got.append(message.data)
            break
        async for message in messages:
            got.append(message.data)
            break
    assert got == [1, 2, 3]
    assert await next_of(server, name="billing") == 4


async def test_who_stops_waiting_for_a_message_can_wait_again(server: RedisServer) -> None:
    async with Subscription(server.url, "orders") as messages:
        await messages.live()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await anext(messages)
        await publish(server, 1)
        assert (await anext(messages)).data == 1


async def test_without_a_name_nothing_is_kept(server: RedisServer) -> None:
    await publish(server, 1, 2)
    assert [await next_of(server), await next_of(server)] == [1, 1]
    assert not server.client().keys("fanout:*:position:*")


async def test_it_subscribes_with_the_settings_of_the_environment(server: RedisServer) -> None:
    await publish(server, 1, 2)
    variables = {"REDIS_URL": server.url, "CHANNELS": "orders", "START_FROM": "earliest"}
    async with Subscription.from_environment(variables | {"INSTANCE": "billing"}) as messages:
        assert (await anext(messages)).data == 1
    assert server.client().keys("fanout:*:position:*") == [b"fanout:{orders}:position:billing"]
    async with Subscription.from_environment(variables, name="billing") as messages:
        assert (await anext(messages)).data == 2
    async with Subscription.from_environment(variables) as messages:
        assert (await anext(messages)).data == 1


@pytest.mark.parametrize(
    "start_from", ["earliest", "10m", StartFrom(earliest=True, age=0), StartFrom(earliest=False, age=600)]
)
async def test_it_starts_where_it_is_told(server: RedisServer, start_from: object) -> None:
    await publish(server, 1)
    async with Subscription(server.url, "orders", start_from=start_from) as messages:
        assert (await anext(messages)).data == 1


async def test_several_channels_and_patterns(server: RedisServer) -> None:
    async with Subscription(server.url, ["orders", "refunds"], patterns=["user.*"]) as messages:
        await messages.live()
        for channel in ("orders", "refunds", "user.1"):
            await publish(server, channel, channel=channel)
        got = [await anext(messages) for _ in range(3)]
    assert sorted((message.channel, message.data, message.pattern) for message in got) == [
        ("orders", "orders", None),
        ("refunds", "refunds", None),
        ("user.1", "user.1", "user.*"),
    ]


async def test_a_wrong_password_is_raised_out_of_whatever_waits_at_once(server: RedisServer) -> None:
    async with asyncio.timeout(1):
        with pytest.raises(RefusedByRedis, match="^Redis refuses: "):
            async with Subscription(WRONG.format(server.port), "orders") as messages:
                with pytest.raises(RefusedByRedis):
                    await messages.live()
                with pytest.raises(RefusedByRedis):
                    await anext(messages)
                async for _ in messages:
                    pass


async def test_a_wrong_password_is_raised_out_of_the_block_where_nothing_waited(server: RedisServer) -> None:
    async with asyncio.timeout(1):
        with pytest.raises(RefusedByRedis):
            async with Subscription(WRONG.format(server.port), "orders") as messages:
                await asyncio.wait([messages.task])


async def test_a_second_subscription_of_one_name_ends_the_first(server: RedisServer) -> None:
    with pytest.raises(NameTaken, match="billing"):
        async with Subscription(server.url, "orders", name="billing") as first:
            await first.live()
            async with Subscription(server.url, "orders", name="billing") as second:
                await second.live()
                await publish(server, 1)
                assert (await anext(second)).data == 1
                while True:
                    await anext(first)


async def test_a_name_that_is_taken_leaves_no_task_behind(server: RedisServer) -> None:
    first = Subscription(server.url, "orders", name="billing")
    with pytest.raises(NameTaken):
        async with first:
            await first.live()
            async with Subscription(server.url, "orders", name="billing") as second:
                await second.live()
            await publish(server, 1)
            assert (await anext(first)).data == 1
    assert first.task.done()


def test_an_option_that_does_not_exist_is_named() -> None:
    with pytest.raises(TypeError, match="unknown option 'pattern'; the options are .*patterns"):
        Subscription("redis://localhost", "orders", pattern="user.*")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"queue_size": 0}, "QUEUE_SIZE is '0', but must be "),
        ({"start_from": "yesterday"}, "START_FROM is 'yesterday', but must be now, earliest, or "),
        ({"channels": "a{b}"}, "CHANNELS is 'a{b}', but must be "),
        ({"name": ""}, "name is '', but must be "),
    ],
)
def test_an_option_that_is_not_allowed_is_named_with_what_is(options: dict[str, object], says: str) -> None:
    with pytest.raises(SettingError) as caught:
        Subscription(**({"channels": "orders"} | options))  # type: ignore[arg-type]
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize("channels", [(), "", []])
def test_a_subscription_to_nothing_is_refused(channels: object) -> None:
    with pytest.raises(TypeError, match="no channels"):
        Subscription("redis://localhost", channels)  # type: ignore[arg-type]


def test_options_beside_settings_that_were_read_before_are_refused() -> None:
    settings = read_settings(Environment({}))
    with pytest.raises(TypeError):
        Subscription(settings, "orders")
    with pytest.raises(TypeError):
        Publisher(settings, history_size=0)


async def test_outside_its_block_it_says_how_it_is_used() -> None:
    messages = Subscription("redis://localhost", "orders")
    with pytest.raises(RuntimeError, match="async with Subscription"):
        await messages.live()
    with pytest.raises(RuntimeError, match="async with Subscription"):
        await anext(messages)


async def test_log_lines_go_to_the_logger_of_the_library(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="fanout"):
        async with Subscription(server.url, "orders", name="billing") as messages:
            await messages.live()
    assert "first_start count=1 channels=['orders'] start_from='now'" in caplog.messages
    assert {record.name for record in caplog.records} == {"fanout"}


async def test_statistics_tell_what_was_recovered(server: RedisServer) -> None:
    await publish(server, 1, 2)
    async with Subscription(server.url, "orders", start_from="earliest") as messages:
        assert messages.statistics().state == "connecting"
        message: Message = await anext(messages)
        assert message.catch_up
        await messages.live()
        await eventually_async(lambda: messages.statistics().recovered == 2)
        assert (messages.statistics().lost, messages.statistics().reconnects) == (0, 0)
