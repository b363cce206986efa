"""Images: what a server is made of, built once and named by content."""
