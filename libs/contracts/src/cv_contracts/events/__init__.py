"""One module per producing service, one class per fact."""
