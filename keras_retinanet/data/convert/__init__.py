"""Writers of data sets in other formats, one file for each, and the runner that drives them."""
