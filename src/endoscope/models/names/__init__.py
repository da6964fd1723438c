"""Names that other libraries give to our things: one mapping file a library."""
