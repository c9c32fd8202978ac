"""The verbs that work on models and runs, a file each: parse, load, one call."""
