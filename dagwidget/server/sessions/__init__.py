"""One connection each: what it may send, and what it is sent."""
