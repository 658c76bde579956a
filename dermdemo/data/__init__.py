"""Sources, splits, decoding, loading and synthetic lesions."""
