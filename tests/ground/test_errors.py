"""Errors: what of them travels, and that each class says which code it is."""

from __future__ import annotations

import pytest

from culvert.ground import errors


def every_request_error() -> list[type[errors.RequestError]]:
    found: list[type[errors.RequestError]] = []
    waiting = [errors.RequestError]
    while waiting:
        kind = waiting.pop()
        if kind.__module__ == errors.__name__:
            found.append(kind)
        waiting += kind.__subclasses__()
    return found


@pytest.mark.parametrize("kind", [k for k in every_request_error() if k is not errors.RemoteError])
def test_every_class_has_a_known_code_and_domain(kind: type[errors.RequestError]) -> None:
    code, domain, message = errors.triple(kind("guest 'g': no"))
    assert errors.ErrorCode(code).value != 0
    assert errors.ErrorDomain(domain) in errors.ErrorDomain
    assert message.endswith("guest 'g': no")


def test_messages_begin_as_libvirts_do_and_only_once() -> None:
    assert errors.triple(errors.NoDomain("no domain 'g'"))[2] == "Domain not found: no domain 'g'"
    assert errors.triple(errors.NoDomain("Domain not found: 'g'"))[2] == "Domain not found: 'g'"
    assert errors.triple(errors.RpcError("authentication required"))[2] == "authentication required"


def test_a_remote_error_keeps_code_and_domain_of_the_other_daemon() -> None:
    error = errors.RemoteError("from afar", code=4711, domain=99, errno=32)
    assert errors.triple(error) == (4711, 99, "from afar")
    assert error.errno == 32


def test_a_protocol_violation_is_not_a_refusal() -> None:
    assert not issubclass(errors.ProtocolViolation, errors.RequestError)


# virErrorNumber: the numbers clients decide by
@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.NoDomain, 42),
        (errors.OperationInvalid, 55),
        (errors.OperationAborted, 78),
        (errors.ArgumentUnsupported, 74),
        (errors.ConfigUnsupported, 67),
        (errors.MigrateUnsafe, 81),
        (errors.MigrateFinishOk, 93),
        (errors.OperationDenied, 29),
        (errors.RpcError, 39),
        (errors.SystemCallError, 38),
    ],
)
def test_codes_clients_rely_on(kind: type[errors.RequestError], code: int) -> None:
    assert errors.triple(kind("x"))[0] == code
