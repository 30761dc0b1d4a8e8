"""OPC-UA client: reads, subscribes to and writes nodes of OPC-UA servers, and calls their methods."""
