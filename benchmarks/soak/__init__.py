"""An hour of mixed load and faults, and many more, in minutes: what grows, what is lost?"""
