"""A shop whose orders are confirmed by a job."""
