"""What is judged message by message: pure guards, one noun a file, and the chain that asks them."""
