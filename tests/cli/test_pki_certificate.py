"""Certificates as values: what is in them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from culvert.cli import pki_certificate as certificates
from culvert.ground import errors

NOW = datetime(2030, 1, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def authority() -> certificates.Authority:
    return certificates.authority("Example", 100, NOW)


def issue(authority: certificates.Authority, purpose: str = "server", days: int = 10) -> x509.Certificate:
    names = certificates.host_names(["alpha", "10.0.0.1", "fe80::1"])
    key = certificates.new_key().public_key()
    subject = certificates.subject("alpha", "Example")
    return certificates.issue(authority, subject, key, purpose=purpose, days=days, alternatives=names, now=NOW)


def test_authority_signs_itself_and_nothing_but_certificates(authority: certificates.Authority) -> None:
    made = authority.certificate
    made.verify_directly_issued_by(made)
    usage = made.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert (usage.value.key_cert_sign, usage.value.crl_sign, usage.value.digital_signature) == (True, True, False)
    constraints = made.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    assert certificates.purpose_of(made) == "authority"


@pytest.mark.parametrize("purpose", ["server", "client"])
def test_what_libvirt_looks_at(authority: certificates.Authority, purpose: str) -> None:
    made = issue(authority, purpose)
    made.verify_directly_issued_by(authority.certificate)
    assert certificates.purpose_of(made) == purpose
    assert certificates.distinguished_name(made) == "O=Example,CN=alpha"
    usage = made.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert usage.key_encipherment
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    names = certificates.alternatives(made)
    assert names is not None
    assert [str(name.value) for name in names] == ["alpha", "10.0.0.1", "fe80::1"]
    assert names.get_values_for_type(x509.DNSName) == ["alpha"]


def test_validity(authority: certificates.Authority) -> None:
    made = issue(authority)
    assert made.not_valid_before_utc == NOW - certificates.SKEW
    assert made.not_valid_after_utc == NOW + timedelta(days=10)
    assert issue(authority, days=1000).not_valid_after_utc == authority.certificate.not_valid_after_utc


def test_reissued_is_the_same_but_for_the_time(authority: certificates.Authority) -> None:
    old = issue(authority)
    new = certificates.reissue(authority, old, 20, NOW + timedelta(days=5))
    assert new.not_valid_after_utc == NOW + timedelta(days=25)
    assert new.serial_number != old.serial_number
    assert new.public_key() == old.public_key()
    assert (new.subject, certificates.alternatives(new)) == (old.subject, certificates.alternatives(old))
    with pytest.raises(errors.InvalidArgument, match="only certificates that 'culvert pki' has made"):
        certificates.reissue(authority, authority.certificate, 20)


def test_what_a_renewed_authority_signed_before_stays_good(authority: certificates.Authority) -> None:
    made = issue(authority)
    renewed = certificates.renewed_authority(authority, 200, NOW)
    made.verify_directly_issued_by(renewed.certificate)
    assert renewed.certificate.not_valid_after_utc == NOW + timedelta(days=200)


def test_revocations(authority: certificates.Authority) -> None:
    made = issue(authority)
    text = certificates.revocations(authority, [(made.serial_number, NOW)], NOW)
    found = x509.load_pem_x509_crl(text)
    assert found.is_signature_valid(authority.key.public_key())
    assert [each.serial_number for each in found] == [made.serial_number]
    assert found.next_update_utc == authority.certificate.not_valid_after_utc


@pytest.mark.parametrize("name", ["", "a b", "-a", "a..b", "x" * 64, "a/b", "*.example", "1.2.3.256/8"])
def test_what_is_no_host(name: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="neither a host name nor an IP address"):
        certificates.host_names([name])


@pytest.mark.parametrize("name", ["", ".hidden", "../up", "a/b", "x" * 64, "a,b", "a\n"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="cannot be used"):
        certificates.subject(name, "Example")
