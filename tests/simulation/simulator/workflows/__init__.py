"""Workflow runs in the simulated world: their endpoint speaks to the emulator as the Workflow SDKs do.

spec        what a workflow does, step by step, and how its endpoint and those it calls react
replay      what the SDK does next, given the list of steps that was delivered
app         the endpoint: it replays, carries out one step, publishes it, answers
history     what clients and the endpoint saw
steps       the kinds of steps of a scenario: trigger, notify, cancel, resume, restart
generator   random ones from a seed
recording   from all that to the record of each run
"""
