"""The database's certificate is checked against the system's authorities, in the layer's own libpq.

The OpenSSL inside psycopg2's wheel looks for authorities where it was built, a folder that exists nowhere else: without
SSL_CERT_FILE every certificate would be refused. The template and the images set it.
"""

import datetime as dt
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from dev.lambda_build import BUILD, INTERPRETER, LAYER
from tests.contract.test_template import GLOBALS

pytestmark = pytest.mark.built
CONNECT = """
import sys
import psycopg2
try:
    psycopg2.connect(sys.argv[1])
except psycopg2.OperationalError as error:
    print(error)
"""


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of `localhost` that is its own authority, with its key."""
    key = generate_private_key(SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "certificate.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(made.public_bytes(Encoding.PEM) + private)
    return file


@pytest.fixture
def server(certificate: Path) -> Iterator[SimpleNamespace]:
    """Speaks PostgreSQL as far as TLS goes (the client asks for it with SSLRequest), then hangs up. `port`, and what was
    `received` inside TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listening = socket.create_server(("127.0.0.1", 0))
    known = SimpleNamespace(port=listening.getsockname()[1], received=b"")

    def serve() -> None:
        try:
            connection, _ = listening.accept()
            with connection:
                connection.recv(8)
                connection.sendall(b"S")
                with context.wrap_socket(connection, server_side=True) as secured:
                    known.received += secured.recv(1000)
        except OSError:
            pass  # the client refused the certificate

    thread = threading.Thread(target=serve)
    thread.start()
    yield known
    thread.join(5)
    listening.close()


def output_of(port: int, **environment: str) -> str:
    url = f"postgresql://u:p@localhost:{port}/n?sslmode=verify-full&sslrootcert=system&connect_timeout=3"
    paths = {"PYTHONPATH": str(BUILD / LAYER / "python"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [str(INTERPRETER), "-P", "-c", CONNECT, url]
    return subprocess.run(command, env={**paths, **environment}, capture_output=True, text=True, timeout=20).stdout


def test_a_certificate_of_a_known_authority_is_accepted(server, certificate):
    body = output_of(server.port, SSL_CERT_FILE=str(certificate))
    assert "certificate" not in body
    assert b"user\0u\0database\0n\0" in server.received


def test_a_certificate_of_an_unknown_authority_is_refused(server):
    assert "certificate verify failed" in output_of(server.port)
    assert server.received == b""


def test_functions_and_images_say_where_the_authorities_are():
    """Amazon Linux 2023 has them here, Debian there."""
    assert GLOBALS["Environment"]["Variables"]["SSL_CERT_FILE"] == "/etc/pki/tls/certs/ca-bundle.crt"
    root = Path(__file__).parents[2]
    for name in ("ib_bridge/Dockerfile", "infra/api.Dockerfile"):
        assert "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt" in (root / name).read_text()
