"""Workflow runs in the simulated world. Their endpoint speaks to the emulator as the Workflow SDKs do.

spec        a workflow's steps, and the reactions of its endpoint and of the services that it calls
replay      the SDK's next move, given the list of steps that was delivered
app         the endpoint: it replays, carries out one step, publishes it, answers
history     the observations of clients and the endpoint
steps       the kinds of steps of a scenario: trigger, notify, cancel, resume, restart
generator   random steps from a seed
recording   makes the record of each run from all of these
"""
