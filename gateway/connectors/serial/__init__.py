"""Devices on a serial line that speak their own language: lines, frames, questions and answers."""
