"""What the bridge costs beside what one would write in an afternoon; see README.md."""
