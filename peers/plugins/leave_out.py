"""A pytest plugin, loaded in a peer's own environment: leaves out exactly the tests that a file names, one a line.

``--deselect`` takes beginnings of names, so that leaving out ``test_update`` would leave out ``test_update_table`` too.
"""

from pathlib import Path

import pytest


def pytest_addoption(parser):
    parser.addoption("--leave-out", metavar="FILE", help="a file of test ids; one without brackets means all of it")


def pytest_collection_modifyitems(config, items):
    named = set(Path(config.getoption("--leave-out")).read_text().splitlines())
    left_out = [item for item in items if item.nodeid in named or _base(item) in named]
    unknown = named - {item.nodeid for item in items} - {_base(item) for item in items}
    if unknown:
        raise pytest.UsageError(f"these exclusions are no tests: {', '.join(sorted(unknown))}")
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _base(item):
    return item.nodeid.partition("[")[0]
