"""What the MQTT services of the big clouds take, and how they want it: limits, login, topics. Pure descriptions."""
