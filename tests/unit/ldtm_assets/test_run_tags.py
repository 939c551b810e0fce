"""Identity of the container that a process is in, from the mounts that engines make (proc(5))."""

import dagster as dg
import pytest

from ldtm_assets import run_tags
from ldtm_assets.run_tags import CONCURRENCY_GROUP_TAG, RETRAINING_GROUP, root_mounts, trains

HOST = (
    "28 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro\n29 28 0:5 / /dev rw - devtmpfs udev rw"
)
FIRST = (
    "612 560 0:{device} / / rw,relatime master:300 - overlay overlay "
    "rw,lowerdir=/d/l/A:/d/l/B,upperdir=/d/overlay2/{layer}/diff,workdir=/d/overlay2/{layer}/work\n"
    "640 612 254:0 /d/containers/{container}/hostname /etc/hostname rw,relatime - ext4 /dev/vda1 rw"
)
ONE, OTHER = "1" * 64, "2" * 64


def mounts(layer: str = "aa", container: str = ONE, device: int = 48) -> str:
    return FIRST.format(layer=layer, container=container, device=device)


def test_a_restarted_container_has_the_mounts_of_before() -> None:
    assert root_mounts(mounts(device=48)) == root_mounts(mounts(device=53))


def test_two_containers_differ_by_their_layer_or_by_their_host_name_file() -> None:
    assert root_mounts(mounts()) != root_mounts(mounts(layer="bb"))
    assert root_mounts(mounts()) != root_mounts(mounts(container=OTHER))


def test_other_mounts_of_a_host_do_not_matter() -> None:
    assert root_mounts(HOST) == ["/ / ext4 /dev/vda1"]


@pytest.mark.parametrize(("text", "container"), [(HOST, None), (mounts(container=OTHER), OTHER)])
def test_the_id_of_a_container_is_that_of_its_host_name_file(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, text: str, container: str | None
) -> None:
    path = tmp_path_factory.mktemp("proc") / "mountinfo"
    path.write_text(text)
    monkeypatch.setattr(run_tags, "MOUNTS", path)
    assert run_tags.container_id() == container


@pytest.mark.parametrize(
    ("tags", "assets", "expected"),
    [
        ({CONCURRENCY_GROUP_TAG: RETRAINING_GROUP}, None, True),
        ({}, {"checkpoints"}, True),
        ({CONCURRENCY_GROUP_TAG: "daily_run"}, {"prices", "snapshots"}, False),
        ({}, None, False),
    ],
)
def test_trainings_are_known_by_their_group_or_their_assets(
    tags: dict[str, str], assets: set[str] | None, expected: bool
) -> None:
    selection = None if assets is None else {dg.AssetKey(name) for name in assets}
    run = dg.DagsterRun(job_name="any", run_id="1", tags=tags, asset_selection=selection)
    assert trains(run) is expected
