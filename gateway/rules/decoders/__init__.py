"""From the bytes of a message to records: one module for each family of formats. Pure."""
