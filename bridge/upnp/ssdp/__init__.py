"""SSDP: interfaces, searches, announcements (UDA 2.0, section 1)."""
