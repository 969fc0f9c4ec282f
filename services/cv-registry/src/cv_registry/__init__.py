"""Owner of the citizens, their CVs and the revisions of them."""
