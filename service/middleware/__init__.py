"""Plain ASGI layers around the application, outermost concerns first."""
