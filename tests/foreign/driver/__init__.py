"""Driver of the foreign suite: packages, servers, bridge processes, steps and the table of results."""
