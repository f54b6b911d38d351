"""What CloudFormation makes for the runner ecs: it fits what the code names, and what `vproc aws init` makes."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.core.test_provisioning import WANTED
from tests.core.test_template import filled
from tests.support.source import ROOT
from vproc.core.infrastructure import policies
from vproc.core.task_template import CONTAINER, tasks_cloudformation

VALUES = {
    "${Name}": "acme",
    "${AWS::Region}": WANTED.region,
    "${AWS::AccountId}": WANTED.account,
    "${AWS::Partition}": "aws",
}


def made() -> dict[str, dict[str, Any]]:
    """Properties of each resource, the placeholders filled in."""
    return {name: resource["Properties"] for name, resource in filled(tasks_cloudformation()["Resources"], VALUES).items()}


def test_the_names_are_those_that_the_policies_allow() -> None:
    """Cluster, family and roles, as the launcher's policy names them; the task has the policy that init makes."""
    resources, launcher = made(), json.dumps(policies(WANTED)["launcher"])
    assert f':cluster/{resources["Cluster"]["ClusterName"]}"' in launcher
    assert f":task-definition/{resources['TaskDefinition']['Family']}:*" in launcher
    for role in ("TaskRole", "ExecutionRole"):
        assert f':role/{resources[role]["RoleName"]}"' in launcher
    assert resources["TaskRole"]["ManagedPolicyArns"] == [WANTED.policy_arn("task")]


def test_the_container_is_the_one_that_the_runner_looks_for_and_does_one_job() -> None:
    """Without any right, nothing written but where jobs work, and with the time to say that it was interrupted."""
    (container,) = made()["TaskDefinition"]["ContainerDefinitions"]
    assert (container["Name"], container["Command"], container["ReadonlyRootFilesystem"]) == (CONTAINER, ["job"], True)
    assert container["LinuxParameters"] == {"Capabilities": {"Drop": ["ALL"]}}
    told = {each["Name"]: each["Value"] for each in container["Environment"]}
    assert int(told["VPROC_DRAIN_TIMEOUT_S"]) + 20 <= container["StopTimeout"] <= 120
    (mount,) = container["MountPoints"]
    image = (ROOT / "Dockerfile").read_text()
    assert f"VPROC_SCRATCH_DIR={mount['ContainerPath']}" in image
    # What a volume belongs to is taken from the image, where that declares it one.
    assert re.search(rf"^VOLUME .*\"{mount['ContainerPath']}\"", image, re.MULTILINE)


def test_every_reference_is_declared() -> None:
    template = tasks_cloudformation()
    text = json.dumps(template)
    known = {*template["Parameters"], *template["Resources"]}
    assert set(re.findall(r"\"Ref\": \"(\w+)\"", text)) <= known
    assert set(re.findall(r"\"Fn::GetAtt\": \[\"(\w+)\"", text)) <= known
    assert set(re.findall(r"\$\{(\w+)\}", text)) <= known


def test_the_template_in_the_tree_is_the_one_that_is_printed() -> None:
    """`vproc aws template --tasks` writes it."""
    assert json.loads((ROOT / "deploy/ecs/cloudformation.json").read_text()) == tasks_cloudformation()
