"""The benchmark: Fanout beside its peers, in one run on one machine. `scripts/bench/run --mode short` starts it.

Every run has a Redis and processes of its own (`stage`), started as `programs` and `peers/` say. An item of `items/`
measures one thing: it runs its contenders in turn (`rounds`) and makes tables of the figures (`table`), which
`report` writes as Markdown, JSON and pictures (`plot`).
"""
