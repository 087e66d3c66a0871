"""`python -m bbq_dagster.cli` is `bbq`."""

from bbq_dagster.cli import main

main()
