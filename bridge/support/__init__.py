"""What helps when something goes wrong: doctor, captures, redaction, reports."""
