"""A real Dagster webserver and daemon, asked through GraphQL with the queries that its UI sends."""

import json
import time
import urllib.request
from dataclasses import dataclass
from typing import Any

LAUNCH_BACKFILL = """
mutation LaunchPartitionBackfill($backfillParams: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $backfillParams) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
BACKFILL = """
query BackfillStatus($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { status error { message } runs(limit: 100) { runId status } }
  }
}
"""
PARTITIONS = """
query PartitionHealth($assetKey: AssetKeyInput!) {
  assetNodeOrError(assetKey: $assetKey) {
    ... on AssetNode {
      assetPartitionStatuses {
        ... on MultiPartitionStatuses {
          primaryDimensionName
          ranges {
            primaryDimStartKey primaryDimEndKey
            secondaryDim {
              ... on DefaultPartitionStatuses { materializedPartitions failedPartitions }
            }
          }
        }
        ... on DefaultPartitionStatuses { materializedPartitions failedPartitions }
        ... on TimePartitionStatuses { ranges { status startKey endKey } }
      }
    }
  }
}
"""
WORKSPACE = """
query {
  workspaceOrError {
    ... on Workspace {
      locationEntries { name loadStatus locationOrLoadError { __typename ... on PythonError { message } } }
    }
  }
}
"""
DAILY_JOB = {
    "selector": {
        "partitionSetName": "daily_job_partition_set",
        "repositorySelector": {"repositoryLocationName": "ldtm", "repositoryName": "__repository__"},
    }
}
SIMULATED = '{"ops": {"daily_forecast": {"config": {"simulated": true}}}}'
FINISHED = {"COMPLETED_SUCCESS", "COMPLETED_FAILED", "COMPLETED", "FAILED", "CANCELED"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Backfill:
    """How a backfill ended."""

    status: str
    runs: list[str]
    """The statuses of its runs."""


class DagsterUi:
    """The GraphQL endpoint of a webserver."""

    def __init__(self, port: int, token: str | None = None) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}/graphql"
        self.headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})

    def ask(self, query: str, **variables: Any) -> Any:
        """The data of one query; errors are raised."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(self.url, body, self.headers)
        with urllib.request.urlopen(request, timeout=60) as reply:
            answer = json.load(reply)
        assert not answer.get("errors"), answer["errors"]
        return answer["data"]

    def launch(self, assets: list[str], partitions: list[str]) -> str:
        """Ask as the button `Materialize` does; the id of what was launched."""
        params = {"assetSelection": [{"path": [name]} for name in assets], "partitionNames": partitions}
        launched = self.ask(LAUNCH_BACKFILL, backfillParams=params)["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        return launched["backfillId"]

    def wait_for(self, backfill_id: str, timeout_seconds: float = 240) -> Backfill:
        """How it ended."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            found = self.ask(BACKFILL, id=backfill_id)["partitionBackfillOrError"]
            if found["status"] in FINISHED:
                return Backfill(status=found["status"], runs=[run["status"] for run in found["runs"]])
            assert time.monotonic() < deadline, f"backfill still {found}"
            time.sleep(1)

    def partitions(self, asset: str, session: str) -> tuple[set[str], set[str]]:
        """The tickers of an asset that are shown as materialized, and as failed, on a session."""
        found = self.ask(PARTITIONS, assetKey={"path": [asset]})["assetNodeOrError"]["assetPartitionStatuses"]
        materialized: set[str] = set()
        failed: set[str] = set()
        for part in found["ranges"]:
            if part["primaryDimStartKey"] <= session <= part["primaryDimEndKey"]:
                materialized |= set(part["secondaryDim"]["materializedPartitions"])
                failed |= set(part["secondaryDim"]["failedPartitions"])
        return materialized, failed

    def tickers(self, asset: str) -> tuple[set[str], set[str]]:
        """The tickers of an asset by ticker that are shown as materialized, and as failed."""
        found = self.ask(PARTITIONS, assetKey={"path": [asset]})["assetNodeOrError"]["assetPartitionStatuses"]
        return set(found["materializedPartitions"]), set(found["failedPartitions"])

    def sessions(self, asset: str) -> dict[str, str]:
        """The status by range of sessions of an asset by session, such as `MATERIALIZED` of `2013-02-01 2013-02-05`."""
        found = self.ask(PARTITIONS, assetKey={"path": [asset]})["assetNodeOrError"]["assetPartitionStatuses"]
        return {f"{part['startKey']} {part['endKey']}": part["status"] for part in found["ranges"]}
