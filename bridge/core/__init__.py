"""The pure core: no I/O, no clock, no asyncio, no logging; time is an argument."""
