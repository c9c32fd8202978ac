"""One check by many processes: each reads a share of the files, and the parts make one report."""
