"""``vproc aws``: what vproc needs of AWS, made, shown and taken away; and the same as a template."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING, Any

import click

from vproc.cli.audit import audit
from vproc.cli.group import FAILED, fail
from vproc.cli.options import json_option, print_json

if TYPE_CHECKING:
    from vproc.aws.provision import Provisioner
    from vproc.core.infrastructure import Deployment
    from vproc.core.provisioning import Call, Found

_PROOF_WITHIN_S = 120.0

Story = Callable[["Provisioner", "Deployment"], Awaitable[Any]]


@click.group()
def aws() -> None:
    """What vproc needs of AWS: make, show, destroy.

    Two buckets, a queue, dead letters, the notification, policies, alarms. The credentials are the environment's.
    NAME begins every name: NAME-raw, NAME-processed, NAME, NAME-dead-letters.
    """


name_option = click.option("--name", required=True, metavar="NAME", help="Begins every name; buckets' names are the world's.")
region_option = click.option(
    "--region",
    envvar=["AWS_REGION", "AWS_DEFAULT_REGION"],
    metavar="REGION",
    help="Where.  [default: AWS_REGION, or the profile's]",
)


@aws.command()
@name_option
@region_option
@click.option(
    "--origin", "origins", multiple=True, metavar="URL", help="A page that may upload and play; again for more.  [default: *]"
)
@click.option("--raw-days", type=int, help="Days that originals stay which were never processed.  [default: 21]")
@click.option("--alarm-topic", metavar="ARN", help="The SNS topic that alarms go to.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@json_option
def init(*, name: str, region: str | None, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Make what is lacking; what stands already, and what others put beside it, is kept.

    Prints what it does, and at the end the daemon's settings.
    """

    async def story(provisioner: Provisioner, wanted: Deployment) -> tuple[list[Call], dict[str, str]]:
        from vproc.core.provisioning import lacking  # noqa: PLC0415 - imported when a command runs

        found = await provisioner.found(wanted)
        # What is not given now stays as it was given before.
        calls = lacking(_as_chosen(wanted, found, but={key for key, value in options.items() if value}), found)
        for call in calls:
            _tell(call, as_json=as_json)
            if not dry_run:
                await provisioner.make(call)
        return calls, {} if dry_run else _settings(wanted, await provisioner.found(wanted))

    calls, settings = _run(story, name, region, **options)
    if not dry_run and calls:
        audit("aws.init", name=name, calls=len(calls))
    if as_json:
        print_json({"calls": [_document(call) for call in calls], "done": not dry_run, "settings": settings})
    elif dry_run:
        click.echo(f"would make {len(calls)} calls; nothing was done" if calls else "nothing is lacking")
    else:
        click.echo(
            "\n".join([*([] if calls else ["nothing is lacking"]), *(f"{key}={value}" for key, value in settings.items())])
        )


@aws.command()
@name_option
@region_option
@click.option("--no-upload", "upload", flag_value=False, default=True, help="Only look, and send nothing.")
@click.option(
    "--within", "within_s", default=_PROOF_WITHIN_S, show_default=True, type=click.FloatRange(min=1), help="Seconds it may take."
)
@json_option
def status(*, name: str, region: str | None, upload: bool, within_s: float, as_json: bool) -> None:
    """Show what stands and what differs, and prove it: a small upload, and whether it came out. Needs a daemon that runs.

    Exit code 1 where something differs, or nothing came out in time.
    """

    async def story(provisioner: Provisioner, wanted: Deployment) -> dict[str, Any]:
        from importlib.resources import files  # noqa: PLC0415 - imported when a command runs

        from vproc.aws.provision import waiting  # noqa: PLC0415 - likewise
        from vproc.core.provisioning import lacking  # noqa: PLC0415 - likewise

        found = await provisioner.found(wanted)
        # Days, origins and topic are the owner's choice: what stands is not held against this command's defaults.
        calls = lacking(_as_chosen(wanted, found), found)
        shown: dict[str, Any] = {"lacking": [_document(call) for call in calls], "waiting": waiting(found), "proof": None}
        if upload and not calls:
            video = files("vproc.cli").joinpath("status.mp4").read_bytes()
            proof = await provisioner.prove(wanted, video, within_s=within_s)
            shown["proof"] = {"file_id": str(proof.file_id), "completed": proof.committed, "took_s": round(proof.took_s, 1)}
            shown["waiting"] = waiting(await provisioner.found(wanted))
        return shown

    shown = _run(story, name, region)
    if as_json:
        print_json({"name": name, **shown})
    else:
        click.echo("\n".join(_status_lines(shown)))
    proof = shown["proof"]
    if shown["lacking"] or (proof is not None and not proof["completed"]):
        raise click.exceptions.Exit(FAILED)


@aws.command()
@name_option
@region_option
@click.option("--force", is_flag=True, help="Delete buckets with all that is in them; take policies from who has them.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@json_option
def destroy(*, name: str, region: str | None, force: bool, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Take away what init made. A bucket that was there before stays, without our entries in it.

    A bucket that is not empty is refused without --force.
    """

    async def story(provisioner: Provisioner, wanted: Deployment) -> list[Call]:
        from vproc.core.provisioning import in_the_way, removal  # noqa: PLC0415 - imported when a command runs

        found = await provisioner.found(wanted)
        calls = removal(wanted, found)
        for call in calls:
            _tell(call, as_json=as_json)
        if dry_run or not calls:
            return calls
        if (reasons := in_the_way(wanted, found)) and not force:
            fail(*(f"{reason}: nothing was deleted; --force deletes it all the same" for reason in reasons), code=FAILED)
        _ask(name, yes=yes)
        for call in calls:
            if call.operation == "delete_bucket":
                await provisioner.empty(call.arguments["Bucket"])
            await provisioner.make(call)
        return calls

    calls = _run(story, name, region)
    if calls and not dry_run:
        audit("aws.destroy", name=name, calls=len(calls), force=force)
    if as_json:
        print_json({"calls": [_document(call) for call in calls], "done": not dry_run})
    elif not calls:
        click.echo("nothing stands")
    else:
        click.echo("nothing was done" if dry_run else "done")


@aws.command()
@click.option("--format", "kind", type=click.Choice(["cloudformation", "terraform"]), default="cloudformation", show_default=True)
@click.option(
    "--tasks", is_flag=True, help="What VPROC_RUNNER=ecs needs beside it: cluster, task definition, roles. CloudFormation only."
)
def template(kind: str, *, tasks: bool) -> None:
    """Print the same as a CloudFormation template, or as a Terraform module (a main.tf.json)."""
    import json  # noqa: PLC0415 - imported when a command runs

    from vproc.core.task_template import tasks_cloudformation  # noqa: PLC0415 - likewise
    from vproc.core.template import cloudformation  # noqa: PLC0415 - likewise
    from vproc.core.terraform import terraform  # noqa: PLC0415 - likewise

    if tasks and kind != "cloudformation":
        raise click.UsageError("--tasks: takes --format cloudformation")
    base = cloudformation if kind == "cloudformation" else terraform
    click.echo(json.dumps(tasks_cloudformation() if tasks else base(), indent=2))


def _run(story: Story, name: str, region: str | None, **options: Any) -> Any:
    import anyio  # noqa: PLC0415 - heavy: imported when a command runs

    from vproc.aws.provision import open_provisioner  # noqa: PLC0415 - likewise
    from vproc.core.infrastructure import Deployment, check_deployment  # noqa: PLC0415 - likewise
    from vproc.settings import LogFormat  # noqa: PLC0415 - likewise
    from vproc.telemetry import configure_logging  # noqa: PLC0415 - likewise

    configure_logging(LogFormat.JSON if not sys.stderr.isatty() else None, "warning")
    chosen = {key: value for key, value in options.items() if value}
    check_deployment(Deployment(name, region="-", account="-", **chosen))

    async def run() -> Any:
        async with open_provisioner(region) as provisioner:
            wanted = Deployment(
                name,
                region=provisioner.region,
                account=provisioner.account,
                partition=provisioner.partition,
                tls=provisioner.tls,
                **chosen,
            )
            return await story(provisioner, wanted)

    return anyio.run(run)


def _as_chosen(wanted: Deployment, found: Found, *, but: Collection[str] = ()) -> Deployment:
    from dataclasses import replace  # noqa: PLC0415 - imported when a command runs

    from vproc.core.provisioning import chosen  # noqa: PLC0415 - likewise

    return replace(wanted, **{key: value for key, value in chosen(found).items() if key not in but})


def _ask(name: str, *, yes: bool) -> None:
    if yes:
        return
    if not can_be_asked():
        raise click.UsageError("destroy deletes for ever: give --yes where nobody can be asked")
    if click.prompt("Type the name to delete it all", err=True) != name:
        fail("that is another name: nothing was deleted", code=FAILED)


def can_be_asked() -> bool:
    """Whether somebody sits before standard input."""
    return sys.stdin.isatty()


def _settings(wanted: Deployment, found: Found) -> dict[str, str]:
    """What the daemon is told, as its environment has it."""
    urls = {
        variable: queue.url
        for variable, queue in (("VPROC_QUEUE_URL", found.queue), ("VPROC_DLQ_URL", found.dead_letters))
        if queue is not None
    }
    return {
        "AWS_REGION": wanted.region,
        "VPROC_RAW_BUCKET": wanted.raw_bucket,
        "VPROC_PROCESSED_BUCKET": wanted.processed_bucket,
        **urls,
    }


def _tell(call: Call, *, as_json: bool) -> None:
    if not as_json:
        click.echo(f"{'-' if call.deletes else '+'} {call.resource}: {call.words}")


def _document(call: Call) -> dict[str, str]:
    return {"resource": call.resource, "what": call.words, "call": f"{call.service}:{call.operation}"}


def _status_lines(shown: dict[str, Any]) -> list[str]:
    lines = [f"lacking: {call['resource']}: {call['what']}" for call in shown["lacking"]]
    proof, waiting = shown["proof"], shown["waiting"]
    if lines:
        lines.append("`vproc aws init` with the same name makes it; nothing was uploaded")
    else:
        lines.append("all stands")
    lines += [f"{queue}: about {number} messages" for queue, number in waiting.items()]
    if proof is not None and proof["completed"]:
        lines.append(f"proved: an upload came out after {proof['took_s']} s")
    elif proof is not None:
        letters = "; `vproc dlq list` tells why files failed" if waiting.get("dead letters") else ""
        lines.append(
            f"NOT proved: nothing came out within {proof['took_s']} s: does a daemon run with these settings, "
            f"and may its role do it?{letters}"
        )
    return lines
