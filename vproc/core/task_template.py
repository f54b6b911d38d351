"""What the runner ``ecs`` needs of AWS beside `core.infrastructure`, as a CloudFormation template: a cluster, the task
definition of `vproc job`, its two roles, its log.
"""

from __future__ import annotations

from vproc.core.infrastructure import POLICIES, Deployment, Document
from vproc.core.template import substituted

CONTAINER = "vproc"
"""The container that does the job. In a definition of somebody's own it may have another name where it is alone."""
_STOP_S = 120
"""The longest that Fargate waits between SIGTERM and SIGKILL, and what Spot gives."""
_DRAIN_S = 100
_SCRATCH = "/scratch"
_OWN = Deployment("${Name}", region="${AWS::Region}", account="${AWS::AccountId}", partition="${AWS::Partition}")
_PULL = ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"]

_PARAMETERS: Document = {
    "Name": {
        "Type": "String",
        "Default": "vproc",
        "AllowedPattern": "[a-z0-9](-?[a-z0-9]){2,49}",
        "Description": "The deployment's, as of `vproc aws init`",
    },
    "Image": {"Type": "String", "Description": "The image of vproc, in a registry that tasks reach"},
    "Cpu": {"Type": "Number", "Default": 2048, "Description": "1024 for each core; with Memory a pair that Fargate has"},
    "Memory": {"Type": "Number", "Default": 4096, "Description": "MiB"},
    "LogDays": {"Type": "Number", "Default": 14, "Description": "Days that the tasks' log lines are kept"},
}


def tasks_cloudformation() -> Document:
    """The template. The policies that it names are made by `vproc aws init`, or by its template."""
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "vproc: tasks of ECS that do jobs",
        "Parameters": _PARAMETERS,
        "Resources": substituted(_resources()),
        "Outputs": {
            "Cluster": {"Description": "VPROC_ECS_CLUSTER", "Value": {"Ref": "Cluster"}},
            "TaskDefinition": {"Description": "VPROC_ECS_TASK_DEFINITION", "Value": {"Fn::Sub": _OWN.task_family}},
            "LauncherPolicyArn": {"Description": POLICIES["launcher"], "Value": {"Fn::Sub": _OWN.policy_arn("launcher")}},
        },
    }


def _resources() -> Document:
    task_role, execution_role = _OWN.task_roles
    return {
        "Cluster": {
            "Type": "AWS::ECS::Cluster",
            "Properties": {"ClusterName": _OWN.cluster, "CapacityProviders": ["FARGATE", "FARGATE_SPOT"]},
        },
        "Log": {
            "Type": "AWS::Logs::LogGroup",
            "Properties": {"LogGroupName": "/vproc/${Name}/jobs", "RetentionInDays": {"Ref": "LogDays"}},
        },
        "TaskRole": _role(task_role, ManagedPolicyArns=[_OWN.policy_arn("task")]),
        "ExecutionRole": _role(execution_role, Policies=[{"PolicyName": "start", "PolicyDocument": _start_policy()}]),
        "TaskDefinition": {
            "Type": "AWS::ECS::TaskDefinition",
            "Properties": {
                "Family": _OWN.task_family,
                "RequiresCompatibilities": ["FARGATE"],
                "NetworkMode": "awsvpc",
                "Cpu": {"Ref": "Cpu"},
                "Memory": {"Ref": "Memory"},
                "TaskRoleArn": {"Fn::GetAtt": ["TaskRole", "Arn"]},
                "ExecutionRoleArn": {"Fn::GetAtt": ["ExecutionRole", "Arn"]},
                "Volumes": [{"Name": "scratch"}],
                "ContainerDefinitions": [_container()],
            },
        },
    }


def _container() -> Document:
    return {
        "Name": CONTAINER,
        "Image": {"Ref": "Image"},
        "Command": ["job"],
        "Essential": True,
        "StopTimeout": _STOP_S,
        "ReadonlyRootFilesystem": True,
        "LinuxParameters": {"Capabilities": {"Drop": ["ALL"]}},
        "MountPoints": [{"SourceVolume": "scratch", "ContainerPath": _SCRATCH}],
        "Environment": [
            {"Name": "AWS_REGION", "Value": "${AWS::Region}"},
            {"Name": "TMPDIR", "Value": _SCRATCH},
            {"Name": "VPROC_DRAIN_TIMEOUT_S", "Value": str(_DRAIN_S)},
        ],
        "LogConfiguration": {
            "LogDriver": "awslogs",
            "Options": {
                "awslogs-group": {"Ref": "Log"},
                "awslogs-region": "${AWS::Region}",
                "awslogs-stream-prefix": "job",
                "mode": "non-blocking",
            },
        },
    }


def _role(name: str, **properties: object) -> Document:
    """One that tasks of this account may have, and nobody else."""
    trusted = {
        "Effect": "Allow",
        "Principal": {"Service": "ecs-tasks.amazonaws.com"},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"aws:SourceAccount": "${AWS::AccountId}"}},
    }
    document = {"Version": "2012-10-17", "Statement": [trusted]}
    return {"Type": "AWS::IAM::Role", "Properties": {"RoleName": name, "AssumeRolePolicyDocument": document, **properties}}


def _start_policy() -> Document:
    """What ECS itself does for a task before it runs: pull the image, write its log."""
    log = "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:/vproc/${Name}/jobs:*"
    images = "arn:${AWS::Partition}:ecr:${AWS::Region}:${AWS::AccountId}:repository/*"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": ["logs:CreateLogStream", "logs:PutLogEvents"], "Resource": log},
            {"Effect": "Allow", "Action": _PULL, "Resource": images},
            {"Effect": "Allow", "Action": ["ecr:GetAuthorizationToken"], "Resource": "*"},
        ],
    }
