"""Files of many records, compressed one part after the other by any number of processes."""
