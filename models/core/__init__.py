"""What every family shares: errors, random numbers, centered Gaussians, protocols."""
