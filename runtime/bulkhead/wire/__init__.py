"""MCP as it is on the wire: bytes in, events out. Nothing here reads a clock, a file or a socket."""
