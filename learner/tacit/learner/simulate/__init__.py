"""A scripted developer at a real language server, for the demo, tests and benches: learning shown without users.

May touch: child processes, the protocol's client, a workspace of its own. Must not: the store, the server's or the language
server's code, or give the learner anything but what the product logs. Everything measured here is *simulated* and says so.
"""
