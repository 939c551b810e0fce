"""Paths of the pages that troubles point to. What they begin with is a matter of the configuration, `pages.url`."""

from urllib.parse import quote


def run_page(run_id: str) -> str:
    """The page of a run."""
    return f"/runs/{quote(run_id, safe='')}"


def partition_page(asset: str, partition: str) -> str:
    """The page of one partition of an asset, such as `2026-11-20|AAPL` of `snapshots`."""
    return f"/assets/{quote(asset)}?view=partitions&partition={quote(partition, safe='')}"


def check_page(asset: str, check: str) -> str:
    """The page of an asset's check with its evaluations."""
    return f"/assets/{quote(asset)}?view=checks&checkDetail={quote(check, safe='')}"


def automation_page() -> str:
    """The page of all schedules and sensors, with their last ticks."""
    return "/automation"
