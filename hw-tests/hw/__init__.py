"""The board under test, by its address."""
