"""Files made by jobs, and expiring links to them."""
