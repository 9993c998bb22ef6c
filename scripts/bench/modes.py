"""How much each mode measures."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mode:
    """Counts of one repetition; a contender that is slower by far gets a part of the messages."""

    repetitions: int
    seconds: float
    """No further repetition is begun that would go beyond that."""
    receive: int
    """Messages that one subscriber logs."""
    kit: int
    """Messages that publisher, Redis and three subscribers pass on."""
    publish: int
    """Events that are published."""
    latency: float
    """Seconds of even load."""
    deliveries: int
    """Messages times subscribers of the fan-out."""
    catch_up: int
    """Events that a subscriber is behind."""
    flat: tuple[int, int]
    """A short and a long run of one subscriber."""
    many: tuple[int, int]
    """Channels, and how many events each gets."""
    large: int
    """Events of 8 kB that are published, and that one subscriber logs."""
    subscribers: tuple[int, ...] = (1, 3, 10, 50, 200)
    rates: tuple[int, ...] = (1000, 10_000)


MODES = {
    "smoke": Mode(
        repetitions=1,
        seconds=60,
        receive=10_000,
        kit=5000,
        publish=5000,
        latency=0.5,
        deliveries=20_000,
        catch_up=5000,
        flat=(5000, 10_000),
        many=(1000, 2),
        large=1000,
        subscribers=(1, 10),
        rates=(1000,),
    ),
    "short": Mode(
        repetitions=3,
        seconds=275,
        receive=50_000,
        kit=40_000,
        publish=40_000,
        latency=0.6,
        deliveries=60_000,
        catch_up=100_000,
        flat=(20_000, 200_000),
        many=(10_000, 4),
        large=5000,
    ),
    "full": Mode(
        repetitions=5,
        seconds=2400,
        receive=200_000,
        kit=200_000,
        publish=200_000,
        latency=2.0,
        deliveries=200_000,
        catch_up=200_000,
        flat=(200_000, 2_000_000),
        many=(10_000, 10),
        large=20_000,
    ),
}
