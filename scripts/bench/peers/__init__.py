"""Programs of the peers, each the way that its documentation shows for speed: python -m bench.peers.NAME PORT MODE.

PORT may be the path of a Unix socket for redis_py, redis_py_history and node_redis.

log                 subscribe and write a JSON line a message, with the payload as it came
record COUNT        subscribe, keep the age of each message in microseconds, print the list after COUNT
flood COUNT BATCH   publish as fast as it goes, in pipelines
pace RATE COUNT     publish evenly, each message with the time at which it was handed to the library; what is due at
                    once goes in one pipeline

The variables SIZE (bytes of a message of `flood`), CHANNELS (how many it goes to in turn; redis-py only) and KEPT
(entries of a history) say what is not usual.
"""
