"""The only thing that makes outbound requests."""
