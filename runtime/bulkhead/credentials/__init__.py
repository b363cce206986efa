"""Secrets: where they come from (one provider a file), what a sandbox holds in their place, and how long they live."""
