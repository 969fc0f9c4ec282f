"""Owner of the approval status of each CV and of its frozen versions."""
