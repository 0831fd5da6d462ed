"""The HTTP face: application, routes, client, command line."""
