"""The synchronous face, for Django, Flask and scripts."""
