"""Owner of contact data with their history, of verification codes and of contact status."""
