"""Payloads of Sparkplug B, for the uplink that sends them and the rules that read them."""
