"""What is trusted, proven by breaking it: processes killed at every side effect, every fault at every call."""
