"""Which version a run rolls out: the newest that may be, of all that a source has."""
