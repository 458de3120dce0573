"""Traces with OpenTelemetry, for servers that were started with an OTLP endpoint.

A message carries its trace context as what it is to everybody else: forwarded headers (W3C Trace Context)::

    publish                    when a publish or enqueue arrives; continues the publisher's trace
    └── deliver POST           one for each attempt; the destination continues it

A publish that brings no trace context starts a trace of its own. A batch's items keep the contexts that they bring.
Nothing here runs, and OpenTelemetry is not imported, unless an endpoint is set.
"""
