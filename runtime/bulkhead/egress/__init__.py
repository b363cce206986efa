"""The only way out of a sandbox: a gate that catches every connection, and a proxy that decides on each."""
