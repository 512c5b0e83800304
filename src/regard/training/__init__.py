"""Lightning modules that train the networks of the studies and of the demo."""
