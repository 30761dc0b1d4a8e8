"""Siemens S7 controllers: S7-300, 400, 1200, 1500 and what speaks like them."""
