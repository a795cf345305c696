"""Descriptions and SCPDs: fetched and read (UDA 2.0, section 2)."""
