"""What the subscribers of a world must have received, given what happened in it."""

from typing import TYPE_CHECKING

from support.in_process import SubscriberHere

if TYPE_CHECKING:
    from support.world import World


def verdict(world: "World", subscriber: SubscriberHere, held: set[str]) -> list[str]:
    """What is wrong with what a subscriber got, in words; `held` is the data that the histories hold."""
    wrong, missing = [], 0
    lives = [[m for m in life if m.streamid and not m.plain] for life in subscriber.lives]  # no strangers
    for life in lives:
        names = [(m.source, m.id) for m in life]
        if len(names) != len(set(names)):
            wrong.append(f"{subscriber.name} delivered an event twice in one life")
        by_source: dict[str, list[int]] = {}
        for message in life:
            by_source.setdefault(message.source, []).append(int(message.id))
        if any(seqs != sorted(seqs) for seqs in by_source.values()):
            wrong.append(f"{subscriber.name} has events out of order")
    got = {message.data for life in lives for message in life}
    for publisher in world.publishers + world.dead:
        expected = {data for _, data, _ in publisher.made}
        if (
            publisher.dead or publisher in world.dead
        ):  # what Redis forgot and nobody can send again is nobody's to deliver
            expected &= held
        if subscriber.begun > 1 or world.flushed:  # what was deleted by hand is promised to nobody
            expected &= held
        missing += len(expected - got)
    task = subscriber.subscription.task
    if task.done():
        wrong.append(f"{subscriber.name} has ended: {task.exception()!r}")
    if missing > subscriber.lost and ((subscriber.exact and not world.flushed) or not world.trimmed):
        wrong.append(f"{subscriber.name} misses {missing}, reports {subscriber.lost}")
    if (
        missing < subscriber.lost
        and subscriber.exact
        and not (world.flushed or world.untrimmed or world.doubled)
        and len(subscriber.lives) == 1
        and not world.dead
    ):
        wrong.append(f"{subscriber.name} misses only {missing}, reports {subscriber.lost}")
    return wrong
