"""Topics to handlers: every request gets one answer."""
