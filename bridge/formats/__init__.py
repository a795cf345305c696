"""XML and JSON as others write them; pure."""
