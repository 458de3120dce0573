"""Workflow runs: what follows from the messages of runs, deterministic like the broker that calls it.

The Workflow SDKs keep no state. What they run stands in the user's endpoint; what must last stands here: the run,
its append-only log of steps, its waiters, the events that came too early, and how it ended.

    trigger      makes a run, or finds that it has one
    publishing   a published step joins the log and is delivered, perhaps later
    events       waits, notifications, deadlines
    attempts     what follows from an attempt: nothing, a call's result, or the run's failure
    end_of_run   success, failure, cancellation; telling the run that invoked this one
    failed_run   what a resume takes up of a failed run
    resume       resume, restart, the failure callback once more

A message of a run is a message of the broker with a ``MessageNote``: delays, retries, flow control and recovery are
the broker's. What counts as success, and what follows instead of callbacks and the dead letter queue, is decided
here, and written in the same step, so that either both are durable or neither is.

Delivered is not the message's own body but the list of steps that ends with it (contract W2); that list is read from
the store when it is sent. Memory holds the active runs, without their steps.
"""
