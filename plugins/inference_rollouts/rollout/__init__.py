"""What is done with the clients: moving traffic, watching a step, bringing nodes and adapters, retiring."""
