"""What happens next: a deterministic state machine.

It is told what happened and what time it is, and answers with what to store and what to send. It never
sleeps, never opens a socket, never reads a clock, never rolls dice: sequence numbers and ids come from
factories it is given. The same core runs under uvicorn in real time, inside a pytest process under a manual
clock, and under a seeded simulator.

The life of a message through the modules:

    publishing      a draft becomes one pending message, or one for each endpoint of a URL group
    queues          a message in a queue waits for a slot; a slot is held until its callbacks are done, too
    timeline        what has a due time waits for it
    dispatch_lanes  what is due waits for capacity: fair between destinations, within flow control
    attempts        an attempt starts, ends, and leads to the next state
    callbacks       what is told to whom about an attempt

What a message is in is its state (``transitions``); what holds it is its place (``place``). ``pending_messages``
leads messages from place to place, ``pending_changes`` takes them back or brings them forward. What of the timeline
and of a lane the store alone remembers is a ``stored_tail``.

Everything that must outlive the process is a ``Write``; writes are applied in order and all or nothing, and
nothing is sent before the writes that led to it are durable.
"""
