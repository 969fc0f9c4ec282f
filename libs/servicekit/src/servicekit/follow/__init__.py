"""Following what others say: projections, rows for what must wait, rebuilds, and the owner's side of it."""
