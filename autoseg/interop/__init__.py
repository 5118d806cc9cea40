"""Other programs' files: read into our records, written from them."""
