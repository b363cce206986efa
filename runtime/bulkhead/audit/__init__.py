"""The audit log: what happened and what was decided, in a chain of records that cannot be rewritten unseen."""
