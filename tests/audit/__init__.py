"""The audit log: its format, its attacks, its ways out."""
