"""Workflow runs: what follows from the messages of runs, deterministic like the broker that calls it.

The Workflow SDKs keep no state. They run the user's code in the endpoint; this package keeps the run, its append-only
log of steps, its waiters, the events that came too early, and how it ended.

    trigger      creates a run, or finds the existing one
    publishing   appends a published step to the log and delivers it, perhaps later
    events       waits, notifications, deadlines
    attempts     decides what follows an attempt: nothing, a call's result, or the run's failure
    end_of_run   success, failure, cancellation; the report to the invoking run
    failed_run   the messages that a resume of a failed run delivers again
    resume       resume, restart, repeated failure callbacks

A message of a run is a message of the broker with a ``MessageNote``: delays, retries, flow control and recovery are
the broker's. This package decides what counts as success, and what follows instead of callbacks and the dead letter
queue. Its writes are made in the same step as the broker's, so that either both are durable or neither is.

A delivery carries not the message's own body but the list of steps that ends with it (contract W2), which is read from
the store when it is sent. Memory holds the active runs without their steps.
"""
