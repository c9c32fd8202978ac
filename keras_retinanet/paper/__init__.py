"""The experiments of the paper: as data in experiments/, and what runs and draws them."""
