"""The bridge's own HTTP port."""
