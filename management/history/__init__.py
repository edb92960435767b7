"""The history checker: loads a running system over HTTP, records every operation, and judges the record."""
