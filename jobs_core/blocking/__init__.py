"""The blocking API, for Django, Flask and scripts."""
