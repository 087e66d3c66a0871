"""The figures of docs/benchmarks.md; `make bench NAME=…` runs one. The last line printed is its result as JSON."""
