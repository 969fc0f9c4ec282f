"""CVs and account letters as PDF documents that last."""
