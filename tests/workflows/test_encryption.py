"""Payloads stored in Temporal are encrypted, and those that no key decrypts are refused without retry."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowFailureError
from temporalio.converter import ActivitySerializationContext, DataConverter, WorkflowSerializationContext
from temporalio.exceptions import ApplicationError
from tests.support.polling import DEADLINE_S, eventually
from tests.workflows.bench import Bench

from compozy.drivers.payload_codec import EncryptionCodec, PayloadRefusedError, encrypting
from compozy.settings.keyring import PAYLOAD_REFUSED, Keyring, parse_keyring, random_key
from compozy.workflows.facade import Workflows, WorkflowSettings
from compozy.workflows.run import wire

SECRET = "hunter2hunter2"
TOOL = "def echo(text):\n    return {'echoed': text}\n\ndef fail(text):\n    raise ValueError('no ' + text)\n"
HERE = WorkflowSerializationContext("default", "here")
THERE = WorkflowSerializationContext("default", "there")


def ring(*keys: str) -> Keyring:
    return parse_keyring(" ".join(keys or (random_key(),)))


def payload(value: Any = SECRET) -> Payload:
    return DataConverter.default.payload_converter.to_payloads([value])[0]


def opened(codec: EncryptionCodec, sealed: Payload) -> Payload:
    return asyncio.run(codec.decode([sealed]))[0]


def sealed_with(keyring: Keyring, context: WorkflowSerializationContext = HERE) -> Payload:
    return asyncio.run(EncryptionCodec(keyring).with_context(context).encode([payload()]))[0]


def test_payload_is_encrypted_and_opens_in_activities_of_its_execution() -> None:
    """Neither value nor type is readable; the contexts of an execution and of its activities share a key."""
    keyring = ring()
    sealed = sealed_with(keyring)
    activity = ActivitySerializationContext(
        namespace="default",
        workflow_id="here",
        workflow_type="w",
        activity_type="a",
        activity_id="1",
        activity_task_queue="q",
        is_local=False,
    )

    assert SECRET.encode() not in sealed.SerializeToString()
    assert opened(EncryptionCodec(keyring).with_context(activity), sealed) == payload()


def test_same_payload_is_never_encrypted_alike() -> None:
    """Nonces are random."""
    keyring = ring()
    assert sealed_with(keyring).data != sealed_with(keyring).data


def test_rotated_key_decrypts_and_the_newest_encrypts() -> None:
    """A keyring lists the newest key first."""
    old, new = random_key(), random_key()
    rotated = EncryptionCodec(ring(new, old)).with_context(HERE)

    assert opened(rotated, sealed_with(ring(old))) == payload()
    with pytest.raises(PayloadRefusedError, match="not among the keys"):
        opened(EncryptionCodec(ring(old)).with_context(HERE), asyncio.run(rotated.encode([payload()]))[0])


def changed(sealed: Payload) -> Payload:
    return Payload(metadata=sealed.metadata, data=sealed.data[:-1] + bytes([sealed.data[-1] ^ 1]))


def renamed(sealed: Payload) -> Payload:
    return Payload(metadata={**sealed.metadata, "encryption-key-id": b"\xff"}, data=sealed.data)


KEYS = ring()


@pytest.mark.parametrize(
    ("sealed", "reason"),
    [
        pytest.param(payload(), "not encrypted", id="plain"),
        pytest.param(sealed_with(KEYS, THERE), "belongs to another execution", id="other-execution"),
        pytest.param(
            sealed_with(KEYS, WorkflowSerializationContext("other", "here")), "another execution", id="other-namespace"
        ),
        pytest.param(changed(sealed_with(KEYS)), "it was changed", id="changed"),
        pytest.param(Payload(metadata=sealed_with(KEYS).metadata, data=b"short"), "it was changed", id="cut"),
        pytest.param(renamed(sealed_with(KEYS)), "not among the keys", id="unknown-key"),
    ],
)
def test_forged_payload_is_refused_without_retry(sealed: Payload, reason: str) -> None:
    """The failure names the reason, and Temporal does not retry it."""
    with pytest.raises(PayloadRefusedError, match=reason) as caught:
        opened(EncryptionCodec(KEYS).with_context(HERE), sealed)
    assert (caught.value.non_retryable, caught.value.type) == (True, PAYLOAD_REFUSED)


@dataclass
class Sealed:
    """A project whose Temporal client encrypts."""

    bench: Bench

    def client(self, keyring: Keyring) -> Client:
        """Return a client of the same Temporal with these keys."""
        config: dict[str, Any] = {**self.bench.client.config(), "data_converter": encrypting(keyring)}
        return Client(**config)

    def open(self, keyring: Keyring, *, worker: bool = True) -> Workflows:
        """Open the workflows of the project; they are closed at the end of the test."""
        settings = WorkflowSettings(str(self.bench.directory), self.bench.task_queue, grace_s=1.0, worker=worker)
        made = Workflows(self.client(keyring), self.bench.database, self.bench.loop, settings)
        return self.bench.opened.enter_context(made)

    def history(self, name: str) -> bytes:
        """Return everything that Temporal keeps of an execution."""

        async def fetched() -> bytes:
            handle = self.bench.client.get_workflow_handle(name)
            described = (await handle.describe()).raw_description.SerializeToString()
            return described + b"".join([event.SerializeToString() async for event in handle.fetch_history_events()])

        found: bytes = self.bench.call(fetched())
        return found


@pytest.fixture
def sealed(bench: Bench) -> Sealed:
    """Return a project with two workflows that handle a secret."""
    bench.write("tools.py", TOOL)
    for name in ("echo", "fail"):
        task = f"tasks: [{{id: t, type: basic, tool: 'tools:{name}', with: {{text: '{{{{ workflow.input.text }}}}'}}}}]"
        bench.write(
            f"workflows/{name}.yaml",
            f"id: {name}\ninput: {{text: ''}}\n{task}\noutputs: {{echoed: '{{{{ tasks.t.output }}}}'}}\n",
        )
    bench.write(
        "workflows/nap.yaml",
        "id: nap\ntasks: [{id: t, type: aggregate, sleep: 1h, output: 1}]\noutputs: {n: '{{ tasks.t.output }}'}\n",
    )
    return Sealed(bench)


@pytest.mark.parametrize(
    ("workflow", "status"), [pytest.param("echo", "completed", id="result"), pytest.param("fail", "failed", id="error")]
)
def test_history_holds_no_readable_input_argument_result_or_error(sealed: Sealed, workflow: str, status: str) -> None:
    """The row has the text; Temporal's history and description do not."""
    row = sealed.open(ring()).run(workflow, {"text": SECRET})

    assert row.status == status
    assert SECRET in f"{row.output} {row.error}"
    assert SECRET.encode() not in sealed.history(row.id)


def test_signal_is_encrypted_and_arrives(sealed: Sealed) -> None:
    """Name and payload."""
    workflows = sealed.open(ring())
    name = workflows.start("nap")
    workflows.signal(name, "hush", {"word": SECRET})

    def arrived() -> bool:
        expected = [{"name": "hush", "payload": {"word": SECRET}}]
        return bool(sealed.bench.call(workflows.service.state(name))["signals"] == expected)

    eventually(arrived, "the signal")
    assert SECRET.encode() not in sealed.history(name)


def test_execution_of_a_foreign_client_fails_without_running_a_tool(sealed: Sealed) -> None:
    """A local user who starts an execution over gRPC gets a failure, and no tool is called."""
    keyring = ring()
    workflows = sealed.open(keyring)
    marker = sealed.bench.directory / "ran"
    sealed.bench.write("tools.py", f"def echo(text):\n    open({str(marker)!r}, 'w')\n")
    run = wire.Run(workflows.workflow("echo"), {"text": "x"}).to_json()
    name = f"forged-{secrets.token_hex(4)}"

    async def forged() -> None:
        queue = sealed.bench.task_queue
        await sealed.bench.client.start_workflow(wire.WORKFLOW_TYPE, run, id=name, task_queue=queue)
        await sealed.client(keyring).get_workflow_handle(name).result()

    with pytest.raises(WorkflowFailureError) as caught:
        sealed.bench.call(forged())
    assert "not encrypted" in str(caught.value.cause)
    assert not marker.exists()


def test_execution_of_a_foreign_client_without_an_argument_fails(sealed: Sealed) -> None:
    """It has no payload to reject; its workflow task must not be retried for ever."""
    keyring = ring()
    sealed.open(keyring)

    async def forged() -> None:
        name, queue = f"forged-{secrets.token_hex(4)}", sealed.bench.task_queue
        await sealed.bench.client.start_workflow(wire.WORKFLOW_TYPE, id=name, task_queue=queue)
        handle = sealed.client(keyring).get_workflow_handle(name)
        try:
            await asyncio.wait_for(handle.result(), DEADLINE_S)
        except TimeoutError:
            await handle.terminate()
            raise

    with pytest.raises(WorkflowFailureError) as caught:
        sealed.bench.call(forged())
    assert "was not started by Compozy" in str(caught.value.cause)


def test_undecryptable_execution_ends_with_the_reason_in_its_row(sealed: Sealed) -> None:
    """Server and worker with different keys: no endless retry."""
    shared = random_key()
    sealed.open(ring(random_key(), shared))
    starter = sealed.open(ring(shared, random_key()), worker=False)
    foreign = sealed.open(ring(), worker=False)

    assert starter.run("echo", {"text": SECRET}).status == "completed"
    row = foreign.run("echo", {"text": SECRET})

    assert row.status == "failed"
    assert row.error is not None
    assert "encryption" in row.error


def test_forged_signal_fails_the_execution_with_the_reason_in_its_row(sealed: Sealed) -> None:
    """It is not delivered, and not retried."""
    workflows = sealed.open(ring())
    name = workflows.start("nap")
    handle = sealed.bench.client.get_workflow_handle(name)
    sealed.bench.call(handle.signal(wire.SIGNAL, args=["go", {}]))

    row = workflows.wait(name, 30)

    assert (row.status, row.error) == (
        "failed",
        "a payload was refused: it is not encrypted with a key of this project",
    )


def test_refused_argument_of_an_activity_is_not_retried() -> None:
    """The library wraps the refusal into a retryable failure; the interceptor makes it final."""
    converter = encrypting(KEYS).with_context(HERE)
    wrapped = ApplicationError("Failed decoding arguments")
    wrapped.__cause__ = PayloadRefusedError("it is not encrypted")
    from temporalio.api.failure.v1 import Failure

    failure = Failure()
    asyncio.run(converter.encode_failure(wrapped, failure))

    assert failure.application_failure_info.non_retryable
    assert failure.application_failure_info.type == PAYLOAD_REFUSED
