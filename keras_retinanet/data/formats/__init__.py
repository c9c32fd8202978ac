"""One reader for each format of data sets, and which format a folder is."""
