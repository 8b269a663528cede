"""A lab from its first process to its last: started, watched, ended, in a cluster of its own or another."""
