"""The report of an evaluation: one page that shows the figures, the errors, and what to do next."""
