"""Traces with OpenTelemetry, for servers that were started with an OTLP endpoint.

A message carries its trace context in forwarded headers (W3C Trace Context)::

    publish                    when a publish or enqueue arrives; continues the publisher's trace
    └── deliver POST           one for each attempt; the destination continues it

A publish without a trace context starts a new trace. A batch's items keep their own contexts. Without an endpoint,
this package is not used and OpenTelemetry is not imported.
"""
