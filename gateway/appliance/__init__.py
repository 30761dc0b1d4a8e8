"""What runs as root on the appliance, and never inside the daemon: seen by cli only."""
