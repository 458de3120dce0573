"""Measure what the emulator and the job system cost, beside baselines of the same run.

Every figure is the median of several runs with its spread. The load generator, the servers and the destination
share the machine's cores, and machines are noisy: read the ratios, which compare runs made in turn.
"""
