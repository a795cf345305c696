"""GENA: subscriptions and the events that they bring (UDA 2.0, section 4)."""
