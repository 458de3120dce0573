"""The jobs' schema as Django's migrations."""
