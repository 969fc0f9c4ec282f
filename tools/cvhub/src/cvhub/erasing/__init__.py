"""`cvhub erase`: orders of erasure, kept, carried out in every service, and answered by receipts."""
