"""Files and folders in buckets: the one room that knows that an address is no local path."""
