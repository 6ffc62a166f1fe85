"""Workflows of a release."""
import re

from kinds.release import ROOT

WORKFLOWS = ROOT / ".github/workflows"
WORKFLOW = WORKFLOWS / "release.yml"


def test_actionlint_finds_nothing(machine, _server):
    machine.need("actionlint")
    machine.run("actionlint", *sorted(WORKFLOWS.glob("*.yml")))


def test_the_workflow_builds_every_target(machine, _server):
    built = re.findall(r"\{ target: ([\w-]+), runner: ", WORKFLOW.read_text(encoding="utf-8"))
    assert built == [target.triple for target in machine.release.targets], built


def test_actions_are_pinned_by_commit(_machine, _server):
    used = [
        action
        for workflow in WORKFLOWS.glob("*.yml")
        for action in re.findall(r"uses: (\S+)", workflow.read_text(encoding="utf-8"))
    ]
    assert used and all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action) for action in used), used
