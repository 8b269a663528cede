"""In which form things go over the wire: bodies, tables, and what the server says of itself."""
