"""One experiment a file; each takes a Context and gives Findings."""
