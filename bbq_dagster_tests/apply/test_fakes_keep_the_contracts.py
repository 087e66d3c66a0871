"""The fakes keep the promises of the ports, so that tests on them say something of the real ones."""

from __future__ import annotations

import pytest

from bbq_dagster_tests.fakes import FakeCatalog, FakeClock, FakeWarehouse
from bbq_dagster_tests.warehouse.contracts import CatalogContract, WarehouseContract


class TestFakeWarehouse(WarehouseContract):
    @pytest.fixture
    def warehouse(self) -> FakeWarehouse:
        return FakeWarehouse(FakeClock())

    @pytest.fixture
    def scene(self, warehouse: FakeWarehouse) -> FakeWarehouse:
        return warehouse


class TestFakeCatalog(CatalogContract):
    @pytest.fixture
    def catalog(self) -> FakeCatalog:
        return FakeCatalog()
