"""Tables of the replica of citizens, for every service that keeps one."""
