"""Work that many processes share: the share of each, the part that it writes, the set of all."""
