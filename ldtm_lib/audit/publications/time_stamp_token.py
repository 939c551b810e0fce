"""Time stamp tokens: their content, and a check that a trusted authority signed them (RFC 3161, section 2.4.2)."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from rfc3161_client import PKIStatus, Verifier, VerifierBuilder, decode_timestamp_response

from ldtm_lib.errors import PublicationFailed

SHA256 = x509.ObjectIdentifier("2.16.840.1.101.3.4.2.1")
_CERTIFICATES_TAG = 0xA0
"""[0] IMPLICIT, the only such field of a SignedData (RFC 5652, section 5.1)."""


class InvalidToken(Exception):
    """A reply is not a valid token; the message completes a sentence that begins with the name of the reply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """The content of a verified token."""

    sha256: bytes
    stamped_at: datetime
    nonce: int | None
    signer: str
    """The issuer and serial number of the signer's certificate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Element:
    """One element of a DER encoding: the offsets of its beginning, of its content, and of the end of both."""

    tag: int
    at: int
    content: int
    end: int


def verifier_of(certificates: Path) -> Verifier:
    """A verifier of tokens against the roots and intermediates of a PEM file, as of the tokens' own times.

    Raises PublicationFailed if the file is not a PEM file or has no root.
    """
    roots, others = _roots_of(certificates)
    return VerifierBuilder(roots=roots, intermediates=others).build()


def root_names(certificates: Path) -> str:
    """The roots of a PEM file with the SHA-256 of each, by which a reader can identify them.

    Raises PublicationFailed.
    """
    roots, _ = _roots_of(certificates)
    return " and ".join(
        f"{root.subject.rfc4514_string()} ({root.fingerprint(hashes.SHA256()).hex()})" for root in roots
    )


def _roots_of(certificates: Path) -> tuple[list[x509.Certificate], list[x509.Certificate]]:
    try:
        found = x509.load_pem_x509_certificates(certificates.read_bytes())
    except OSError as error:
        raise PublicationFailed(
            f"{certificates} cannot be read: {error.strerror}; put the authority's root certificate there"
        ) from None
    except ValueError as error:
        raise PublicationFailed(
            f"{certificates} holds no PEM certificates: {error}; put the authority's root certificate there"
        ) from None
    roots = [certificate for certificate in found if certificate.issuer == certificate.subject]
    if not roots:
        raise PublicationFailed(f"{certificates} holds no root, only certificates that others signed; add the root")
    return roots, [certificate for certificate in found if certificate not in roots]


def verified(reply: bytes, verifier: Verifier) -> Stamp:
    """The stamp of a reply; raises InvalidToken if it is not a stamp, or if no trusted authority signed it."""
    try:
        response = decode_timestamp_response(with_certificates_in_order(reply))
        if response.status != PKIStatus.GRANTED:
            reason = ", ".join(response.status_string) or "without a reason"
            raise InvalidToken(f"grants no time stamp (status {response.status}): {reason}")
        info = response.tst_info
        imprint = info.message_imprint
        if imprint.hash_algorithm != SHA256:
            raise InvalidToken(f"stamps a hash of {imprint.hash_algorithm.dotted_string}, not a SHA-256")
        verifier.verify(response, imprint.message)
        signers = [
            f"{each.issuer.rfc4514_string()} {each.serial_number:x}" for each in response.signed_data.signer_infos
        ]
        return Stamp(
            sha256=imprint.message, stamped_at=info.gen_time, nonce=info.nonce, signer=" and ".join(sorted(signers))
        )
    except InvalidToken:
        raise
    except Exception as error:  # altered certificates raise errors of many kinds in the packages that decode them
        raise InvalidToken(f"does not verify: {error}") from None


def with_certificates_in_order(reply: bytes) -> bytes:
    """The reply with its set of certificates in the order of DER, which authorities that run OpenSSL do not keep.

    The decoder requires that order. The signature does not cover the set, and its length stays the same. Anything else
    is returned as it is.
    """
    try:
        response = _elements(reply, 0, len(reply))[0]
        token = _elements(reply, response.content, response.end)[1]
        tagged = _elements(reply, token.content, token.end)[1]
        signed_data = _elements(reply, tagged.content, tagged.end)[0]
        fields = _elements(reply, signed_data.content, signed_data.end)
        certificates = next(field for field in fields if field.tag == _CERTIFICATES_TAG)
        found = _elements(reply, certificates.content, certificates.end)
    except (IndexError, StopIteration):
        return reply
    in_order = b"".join(sorted(reply[element.at : element.end] for element in found))
    return reply[: certificates.content] + in_order + reply[certificates.end :]


def _elements(der: bytes, at: int, end: int) -> list[_Element]:
    """The elements of a range of bytes; raises IndexError if it does not consist of elements."""
    elements: list[_Element] = []
    while at < end:
        tag, length, content = der[at], der[at + 1], at + 2
        if length >= 0x80:
            content += length - 0x80
            length = int.from_bytes(der[at + 2 : content])
        if content + length > end:
            raise IndexError
        elements.append(_Element(tag=tag, at=at, content=content, end=content + length))
        at = content + length
    return elements
