"""The routes of the published API, one file a resource."""
