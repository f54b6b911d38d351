"""What the inside asks of the outside, each as narrow as what is called. Adapters: `aws`, `db`, `oidc`, `containers`,
`workers.runners`, `api`.

Every method may raise `UnavailableError` when its dependency is away, and may be called again after it.
"""

from __future__ import annotations

from vproc.ports.accounts import AccountParts, Accounts, HostedLogin, TokenCheck, Tokens, User, UserStore
from vproc.ports.catalog import Catalog
from vproc.ports.children import Feed, ProcessLimits, ProcessResult, Runner, StopReason
from vproc.ports.containers import (
    ContainerEngine,
    ContainerFacts,
    ContainerMount,
    ContainerPipes,
    ContainerSpec,
    ContainerState,
    ContainerUsage,
    EngineFacts,
    Stream,
)
from vproc.ports.host import HostNotices, TaskProtection
from vproc.ports.identity import Caller, Identity, KeyStore
from vproc.ports.multipart import MultipartUploads, Part, PartsCall, PresignedForm
from vproc.ports.operations import BacklogListener, OperationsReader
from vproc.ports.queue import DeadLetters, Message, Queue, QueueDepth
from vproc.ports.store import FileSlice, ObjectStore, PresignedRequest, Presigner, StoredObject
from vproc.ports.tasks import JOB_VARIABLE, LiveTask, TaskOrder, Tasks, TaskState
from vproc.ports.webhooks import DueEvent, Outbox, OutboxEvent, WebhookSender

__all__ = [
    "JOB_VARIABLE",
    "AccountParts",
    "Accounts",
    "BacklogListener",
    "Caller",
    "Catalog",
    "ContainerEngine",
    "ContainerFacts",
    "ContainerMount",
    "ContainerPipes",
    "ContainerSpec",
    "ContainerState",
    "ContainerUsage",
    "DeadLetters",
    "DueEvent",
    "EngineFacts",
    "Feed",
    "FileSlice",
    "HostNotices",
    "HostedLogin",
    "Identity",
    "KeyStore",
    "LiveTask",
    "Message",
    "MultipartUploads",
    "ObjectStore",
    "OperationsReader",
    "Outbox",
    "OutboxEvent",
    "Part",
    "PartsCall",
    "PresignedForm",
    "PresignedRequest",
    "Presigner",
    "ProcessLimits",
    "ProcessResult",
    "Queue",
    "QueueDepth",
    "Runner",
    "StopReason",
    "StoredObject",
    "Stream",
    "TaskOrder",
    "TaskProtection",
    "TaskState",
    "Tasks",
    "TokenCheck",
    "Tokens",
    "User",
    "UserStore",
    "WebhookSender",
]
