"""Runs peers: their environments are made in ``.peers/``, the embedded BigQuery is new for each.

    python -m peers [NAME ...] [--all]

``--all`` runs the excluded tests too, and names those that pass by now. The exit status is 1 if a test fails that is
not excluded, or if an exclusion is not (or no longer) a test of the peer.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from peers.environments import ROOT
from peers.exclusions import read_exclusions
from peers.report import Verdict, read_results
from peers.service import peer_service
from peers.table import PEERS, Peer


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m peers", description="Run peers on the embedded BigQuery.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(peer.name for peer in PEERS)}")
    parser.add_argument("--all", action="store_true", help="the excluded tests too")
    parser.add_argument("--verbose", action="store_true", help="show what the peer prints")
    given = parser.parse_args(arguments)
    chosen = [peer for peer in PEERS if not given.names or peer.name in given.names]
    if not chosen:
        parser.error(f"no such peer: {' '.join(given.names)}")
    verdicts = [run(peer, with_excluded=given.all, verbose=given.verbose) for peer in chosen]
    print("\n".join(str(verdict) for verdict in verdicts))
    return 0 if all(verdict.is_good for verdict in verdicts) else 1


def run(peer: Peer, *, with_excluded: bool, verbose: bool) -> Verdict:
    """Set up and run one peer, and compare its failures with its exclusions."""
    peer.environment.make()
    exclusions = read_exclusions(Path(__file__).parent / "exclusions" / f"{peer.name}.txt")
    report = ROOT / f"{peer.name}.xml"
    report.unlink(missing_ok=True)
    with peer_service(ROOT / peer.name) as variables:
        output = peer.environment.run(peer, report, () if with_excluded else tuple(exclusions), variables)
    if verbose:
        print(output)
    if not report.exists():
        raise SystemExit(f"{peer.name} did not run:\n{output[-4000:]}")
    return Verdict.of(peer.name, read_results(report), exclusions)


if __name__ == "__main__":
    sys.exit(main())
