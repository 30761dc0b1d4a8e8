"""Sparkplug B edge node: points of devices as metrics, births and deaths, commands from the host application."""
