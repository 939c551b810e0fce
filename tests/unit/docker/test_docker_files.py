"""Rules for docker/: pinned versions, no root, no secrets, pages on loopback, and one place for every setting."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.repository import REPOSITORY

DOCKER = REPOSITORY / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
VARIABLE = re.compile(r"\$\{(\w+)")
SERVICES = ("code", "webserver", "daemon", "dashboard")
FROM_ANOTHER_REGISTRY = {"POSTGRES_IMAGE", "NGINX_IMAGE"}
"""Variables for those who mirror images; no setting of the stack."""


def instructions(text: str) -> list[str]:
    """The instructions of a Dockerfile, each on one line, without comments."""
    without = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return [" ".join(line.split()) for line in without.replace("\\\n", " ").splitlines() if line.strip()]


def stages(text: str) -> list[list[str]]:
    found: list[list[str]] = [[]]
    for line in instructions(text):
        if line.startswith("FROM "):
            found.append([])
        found[-1].append(line)
    return found[1:]


def test_the_last_stage_runs_as_a_user_by_number_and_compiles_nothing() -> None:
    *_, last = stages(DOCKERFILE)
    users = [line for line in last if line.startswith("USER ")]
    assert users[-1] == "USER 10001:10001", "a number, which Kubernetes can check, and not root"
    assert last.index(users[-1]) < next(i for i, line in enumerate(last) if line.startswith("WORKDIR"))
    assert not re.search(r"\b(pip|apt-get|gcc|wheel)\b", " ".join(last))


def test_base_images_are_pinned_and_no_tag_is_latest() -> None:
    images = re.findall(r"^ARG BASE_IMAGE=(\S+)", DOCKERFILE, re.MULTILINE)
    images += re.findall(r"_IMAGE:-([\w./-]+:[\w.-]+)\}", (DOCKER / "compose.yaml").read_text())
    assert images
    for image in images:
        assert re.search(r":\d+\.\d+(\.\d+)?[\w.-]*$", image), f"{image} names no release"


@pytest.mark.parametrize(
    ("rule", "pattern"),
    [
        ("COPY instead of ADD (DL3020)", r"^ADD "),
        ("no sudo (DL3004)", r"\bsudo\b"),
        ("absolute WORKDIR (DL3000)", r"^WORKDIR (?!/)"),
        ("no cd in RUN (DL3003)", r"^RUN .*\bcd "),
        ("no cache of pip (DL3042)", r"^ENV PIP_NO_CACHE_DIR=(?!1)"),
        ("no lists of apt left (DL3009)", r"apt-get install(?!.*rm -rf /var/lib/apt/lists)"),
        ("CMD as a list (DL3025)", r"^(CMD|ENTRYPOINT) (?!\[)"),
        ("no secret as an argument", r"^(ARG|ENV) .*(PASSWORD|TOKEN|KEY|SECRET)"),
    ],
)
def test_the_dockerfile_keeps_a_rule(rule: str, pattern: str) -> None:
    assert not [line for line in instructions(DOCKERFILE) if re.search(pattern, line)], rule


def test_every_pip_install_is_held_to_the_constraints_or_to_the_wheel() -> None:
    commands = re.findall(r"pip (?:--python \S+ )?install ([^&;]+)", "; ".join(instructions(DOCKERFILE)))
    assert len(commands) == 4
    assert all("-c /tmp/constraints.txt" in command or "--no-index" in command for command in commands)


def test_the_version_is_that_of_the_project() -> None:
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    assert f"ARG VERSION={version}\n" in DOCKERFILE
    assert f"LDTM_IMAGE=ldtm:{version}\n" in (DOCKER / "example.env").read_text()
    assert set(re.findall(r"LDTM_IMAGE:-ldtm:([\d.]+)", (DOCKER / "compose.yaml").read_text())) == {version}


def test_every_copied_file_is_in_the_build_context() -> None:
    ignored = (REPOSITORY / ".dockerignore").read_text().splitlines()
    for line in instructions(DOCKERFILE):
        if line.startswith("COPY ") and "--from" not in line:
            for name in line.split()[1:-1]:
                assert name == "." or f"!{name}" in ignored, name
    wheel = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    for name in [*wheel["packages"], *wheel["force-include"]]:
        assert f"!{name}" in ignored, name


def test_pages_are_published_on_loopback_and_the_database_not_at_all() -> None:
    ports = {name: service["ports"] for name, service in COMPOSE["services"].items() if "ports" in service}
    assert set(ports) == {"webserver", "dashboard", "proxy"}
    assert ports["dashboard"] == ["127.0.0.1:${LDTM_DASHBOARD_PORT:-8501}:8501"]
    assert ports["webserver"] == ["127.0.0.1:${LDTM_UI_PORT:-3000}:3000"]
    assert ports["proxy"] == ["${LDTM_PROXY_ADDRESS:-127.0.0.1:8443}:8443"]


def test_every_service_has_a_health_check_a_restart_policy_and_bounded_logs() -> None:
    for name in (*SERVICES, "postgres"):
        service = COMPOSE["services"][name]
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert service["restart"] == "unless-stopped", name
        assert service["logging"]["options"]["max-size"], name


def test_only_the_migration_has_the_owners_password_and_only_postgres_the_superusers() -> None:
    def holders(variable: str) -> set[str]:
        return {name for name, service in COMPOSE["services"].items() if variable in str(service.get("environment"))}

    assert holders("LDTM_SUPERUSER_PASSWORD") == {"postgres"}
    assert holders("LDTM_OWNER_PASSWORD") == {"postgres", "migrate"}
    assert holders("LDTM_READER_PASSWORD") == {"postgres", "dashboard"}
    assert "dashboard" not in holders("LDTM_WRITER_PASSWORD"), "it reads"


def test_dockers_socket_is_given_to_those_alone_that_start_and_stop_containers() -> None:
    holders = {name for name, service in COMPOSE["services"].items() if "docker.sock" in str(service.get("volumes"))}
    assert holders == {"daemon", "webserver"}


def test_every_variable_of_the_compose_files_is_in_the_example() -> None:
    example = re.findall(r"^(\w+)=", (DOCKER / "example.env").read_text(), re.MULTILINE)
    used = {name for path in DOCKER.glob("compose*.yaml") for name in VARIABLE.findall(path.read_text())}
    assert used - FROM_ANOTHER_REGISTRY <= set(example)
    assert set(example) - used <= {"COMPOSE_PROJECT_NAME", "COMPOSE_FILE"}


def test_the_sections_of_the_stack_are_no_sections_of_the_project() -> None:
    ours = yaml.safe_load((REPOSITORY / "dagster.yaml").read_text())
    added = yaml.safe_load((DOCKER / "dagster.yaml").read_text())
    assert set(added) == {"run_launcher"}
    assert not set(added) & set(ours)
    variables = [value["env"] for value in added["run_launcher"]["config"].values()]
    assert set(variables) <= set(COMPOSE["x-environment"])


def test_new_env_fills_in_every_password_and_overwrites_nothing(tmp_path: Path) -> None:
    for name in ("new-env.sh", "example.env"):
        shutil.copy2(DOCKER / name, tmp_path / name)
    (tmp_path / "docker.sock").touch()
    environment = {**os.environ, "DOCKER_SOCKET": str(tmp_path / "docker.sock")}
    script = tmp_path / "new-env.sh"
    subprocess.run([script], env=environment, check=True, capture_output=True)
    written = (tmp_path / ".env").read_text()
    passwords = re.findall(r"^LDTM_\w+_PASSWORD=(\w+)$", written, re.MULTILINE)
    assert len(set(passwords)) == 4
    assert all(re.fullmatch(r"[0-9a-f]{48}", password) for password in passwords)
    assert f"DOCKER_GID={(tmp_path / 'docker.sock').stat().st_gid}\n" in written
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    again = subprocess.run([script], env=environment, check=False, capture_output=True, text=True)
    assert again.returncode == 1
    assert "is left as it is" in again.stderr
    assert (tmp_path / ".env").read_text() == written


@pytest.mark.parametrize("files", [["compose.yaml"], ["compose.yaml", "compose.gpu.yaml"]])
def test_compose_accepts_the_files(files: list[str], tmp_path: Path) -> None:
    plugin = (
        subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
        if shutil.which("docker")
        else None
    )
    command = ["docker", "compose"] if plugin and plugin.returncode == 0 else ["docker-compose"]
    if not shutil.which(command[0]):
        pytest.skip("neither `docker compose` nor docker-compose is installed")
    for name in (*files, "example.env"):
        shutil.copy(DOCKER / name, tmp_path / name)
    text = re.sub(r"(PASSWORD|GID)=$", r"\1=1", (tmp_path / "example.env").read_text(), flags=re.MULTILINE)
    (tmp_path / ".env").write_text(text.replace("COMPOSE_FILE=compose.yaml\n", ""))
    options = [word for name in files for word in ("-f", name)]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run(
        [*command, *options, "config"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = yaml.safe_load(done.stdout)
    assert set(SERVICES) <= set(found["services"])
    has_gpu = found["services"]["daemon"]["environment"]["LDTM_RUN_GPUS"] == "all"
    assert has_gpu is (len(files) == 2)
