"""What a release carries: its metadata, and workflows that take no code on trust by a name."""

import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.pythons import OLDEST

ROOT = Path(__file__).parents[3]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
RELEASE = ROOT / ".github" / "workflows" / "release.yml"


def project(text: str) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads(text)["project"]
    return found


def steps(workflow: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(workflow.read_text())["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_digest(workflow: Path) -> None:
    """A tag can be moved to other code; a commit cannot. Its version stands beside it."""
    pinned = re.compile(r"[\w./-]+@[0-9a-f]{40} # v[0-9.]+")
    used = re.findall(r"uses: (.+)", workflow.read_text())
    assert used
    assert not [line for line in used if not pinned.fullmatch(line)]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_may_read_unless_a_job_says_more(workflow: Path) -> None:
    """No job has a right that it did not ask for, and none has a stored secret."""
    assert yaml.safe_load(workflow.read_text())["permissions"] == {"contents": "read"}
    assert "secrets." not in workflow.read_text()


def test_the_metadata_says_who_and_for_what() -> None:
    """Author, licence, and each Python that the release is tried on."""
    metadata = project((ROOT / "pyproject.toml").read_text())
    assert metadata["authors"]
    tried = next(step for step in steps(RELEASE) if "setup-python" in step.get("uses", ""))
    versions = tried["with"]["python-version"].split()
    named = {f"Programming Language :: Python :: {version}" for version in versions}
    assert named == {c for c in metadata["classifiers"] if re.search(r":: 3\.\d+$", c)}
    assert metadata["requires-python"] == f">={OLDEST[0]}.{OLDEST[1]}"


def test_a_release_says_where_the_project_lives(tmp_path: Path) -> None:
    """Its metadata has the addresses of the repository that it was released from."""
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    say = next(step["run"] for step in steps(RELEASE) if step.get("name", "").startswith("Say"))
    given = {
        "PATH": os.environ["PATH"],
        "GITHUB_SERVER_URL": "https://git.test",
        "GITHUB_REPOSITORY": "some/where",
        "GITHUB_REF_NAME": "v1.2.3",
    }
    subprocess.run(["bash", "-ec", say], cwd=tmp_path, env=given, check=True)
    urls = project((tmp_path / "pyproject.toml").read_text())["urls"]
    assert urls["Source"] == "https://git.test/some/where"
    assert urls["Changelog"] == "https://git.test/some/where/blob/v1.2.3/CHANGELOG.md"


def test_the_tag_has_to_name_the_version() -> None:
    """The check of the release fails for another version."""
    check = next(step["run"] for step in steps(RELEASE) if "tag names" in step.get("name", ""))
    version = project((ROOT / "pyproject.toml").read_text())["version"]
    for name, status in ((f"v{version}", 0), (f"v{version}1", 1), (f"v{version[:-1]}", 1)):
        given = {"PATH": os.environ["PATH"], "GITHUB_REF_NAME": name}
        done = subprocess.run(["bash", "-c", check], cwd=ROOT, env=given, check=False)
        assert done.returncode == status, name
