"""Attacks on the whole program, and what measures it meanwhile."""
