"""CoAP clients: PUT and POST publish, GET reads, Observe subscribes. ``listener.py`` is the way in."""
