"""What an OPC-UA client and server of one gateway share: who we are, whom we trust, and the library's door."""
