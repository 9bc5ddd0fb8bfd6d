"""The ROOT file format, record by record: bytes in, values out and back. Knows no file, no tree, no policy."""
