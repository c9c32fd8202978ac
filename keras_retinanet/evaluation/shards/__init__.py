"""One evaluation by many processes: each writes a part, and the parts make the same figures."""
