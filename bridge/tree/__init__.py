"""The wanted tree, and what the broker lacks of it; pure, and time is an argument."""
