"""Release workflow."""
import re

from kinds.release import ROOT

WORKFLOW = ROOT / ".github/workflows/release.yml"


def test_actionlint_finds_nothing(machine, _server):
    machine.need("actionlint")
    machine.run("actionlint", WORKFLOW)


def test_the_workflow_builds_every_target(machine, _server):
    built = re.findall(r"\{ target: ([\w-]+), runner: ", WORKFLOW.read_text(encoding="utf-8"))
    assert built == [target.triple for target in machine.release.targets], built


def test_actions_are_pinned_by_commit(_machine, _server):
    used = re.findall(r"uses: (\S+)", WORKFLOW.read_text(encoding="utf-8"))
    assert used and all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action) for action in used), used
