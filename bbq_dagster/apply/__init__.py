"""Carrying out a plan: looks, copies, checks and records over the ports, and decides nothing."""
