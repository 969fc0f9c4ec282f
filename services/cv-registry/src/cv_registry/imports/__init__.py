"""Citizens with CVs from a file: its lines are made into rows in processes beside the one that writes them."""
