"""The board that the gateway runs on: temperature, supply, flash, memory, load, LEDs."""
