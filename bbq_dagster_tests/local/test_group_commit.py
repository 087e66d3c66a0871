"""What is durable when: answers wait for one transaction together, and what belongs together survives together."""

import asyncio
import shutil
from pathlib import Path

import pytest

from bbq_dagster.local.group_commit import GroupCommit
from bbq_dagster.local.model import TableRef
from bbq_dagster.local.store import Store


class CountingStore(Store):
    """Tells how often it went to the disk."""

    saves = 0

    def save(self) -> None:
        self.saves += 1
        super().save()


@pytest.fixture
def store(tmp_path: Path) -> CountingStore:
    store = CountingStore(tmp_path / "folder")
    store.create_dataset("shop", "sales", {})
    store.save()
    store.saves = 0
    return store


def create(store: Store, name: str) -> None:
    store.create_table(TableRef("shop", "sales", name), {})


def after_a_kill(folder: Path) -> list[str]:
    """The tables that a server would find that starts on what is in the folder at this moment."""
    left = folder.with_name("left")
    shutil.rmtree(left, ignore_errors=True)
    shutil.copytree(folder, left)
    found = Store(left)
    names = list(found.table_names("shop", "sales"))
    found.close()
    return names


async def create_and_answer(store: Store, group: GroupCommit, name: str) -> None:
    create(store, name)
    await group.durable()


def test_requests_that_end_together_share_a_transaction(store: CountingStore, tmp_path: Path) -> None:
    names = [f"t{i}" for i in range(8)]

    async def all_at_once() -> None:
        group = GroupCommit(store)
        await asyncio.gather(*(create_and_answer(store, group, name) for name in names))

    asyncio.run(all_at_once())

    assert store.saves == 1
    assert after_a_kill(tmp_path / "folder") == names


def test_one_that_ends_later_waits_for_a_transaction_of_its_own(store: CountingStore, tmp_path: Path) -> None:
    async def one_after_the_other() -> list[list[str]]:
        group, found = GroupCommit(store), []
        for name in ("t", "u"):
            await create_and_answer(store, group, name)
            found.append(after_a_kill(tmp_path / "folder"))
        return found

    assert asyncio.run(one_after_the_other()) == [["t"], ["t", "u"]]


def test_an_answer_that_tells_of_nothing_new_waits_for_nothing(store: CountingStore) -> None:
    asyncio.run(GroupCommit(store).durable())

    assert store.saves == 0


def test_what_is_joined_survives_together(store: CountingStore, tmp_path: Path) -> None:
    """As a job's writes and its end do: it would write again after a restart."""
    with store.joined():
        create(store, "t")
        store.save()
        half_way = after_a_kill(tmp_path / "folder")
        create(store, "u")
    store.save()

    assert half_way == []
    assert after_a_kill(tmp_path / "folder") == ["t", "u"]


def test_what_joins_holds_up_nobody_before_its_first_write(store: CountingStore) -> None:
    with store.joined():
        free_before = asyncio.run(asyncio.to_thread(_is_free, store))
        create(store, "t")
        free_after = asyncio.run(asyncio.to_thread(_is_free, store))

    assert (free_before, free_after, _is_free(store)) == (True, False, True)


def _is_free(store: Store) -> bool:
    free = store.lock.acquire(blocking=False)
    if free:
        store.lock.release()
    return free
