"""Black boxes: what happened around an event, at full rate, as a file."""
