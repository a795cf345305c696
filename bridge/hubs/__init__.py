"""What hubs are told besides the tree, so that they know what to make of it. Pure as the core."""
