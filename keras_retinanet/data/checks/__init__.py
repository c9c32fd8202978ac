"""What a data set holds and what is wrong with it: faults, duplicates, statistics, anchors."""
