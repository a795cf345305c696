"""Services asked for what their events do not tell."""
