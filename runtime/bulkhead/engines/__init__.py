"""What starts sandboxes: two small protocols, one neutral Plan, and an engine a file."""
