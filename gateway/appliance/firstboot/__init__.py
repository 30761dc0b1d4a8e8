"""The first boot from files: what is put on the boot partition or on a stick becomes the settings of the appliance."""
