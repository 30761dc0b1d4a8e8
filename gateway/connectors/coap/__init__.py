"""CoAP devices: resources that are polled or observed, and written by PUT."""
