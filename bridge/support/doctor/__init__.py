"""What keeps such a bridge from working, looked for check by check; how it is shown is not here."""
