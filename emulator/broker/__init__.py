"""A deterministic state machine that decides what happens next.

Its inputs are events and the time; its outputs are the records to store and the attempts to start. It never
sleeps, opens a socket, reads a clock or draws random numbers: sequence numbers and ids come from given
factories. The same core runs under uvicorn in real time, inside a pytest process under a manual clock, and
under a seeded simulator.

The life of a message through the modules:

    publishing      a draft becomes one pending message, or one for each endpoint of a URL group
    queues          a message in a queue waits for a slot; a slot is held until its callbacks are done, too
    timeline        a message waits for its due time
    dispatch_lanes  a due message waits for capacity: fair between destinations, within flow control
    attempts        an attempt starts, ends, and leads to the next state
    callbacks       the messages that report an attempt

A message has a state (``transitions``) and a place, the structure that holds it (``place``). ``pending_messages``
moves messages from place to place; ``pending_changes`` cancels them or brings them forward. The part of the
timeline, a lane or a queue that is only in the store is a ``stored_tail``.

Everything that must outlive the process is a ``Write``. Writes are applied in order and all or nothing, and no
attempt starts before the writes that led to it are durable.
"""
