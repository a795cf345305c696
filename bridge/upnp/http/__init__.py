"""HTTP as devices speak it."""
