"""The routes of the published API, one file for each resource."""
