"""Several trainings or evaluations beside each other: which is better, and where."""
