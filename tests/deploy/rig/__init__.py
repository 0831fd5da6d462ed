"""What the deployment tests stand on: an engine of their own, stand-in base images, the composed system."""
