"""Files that jobs make, and links to them that expire."""
