"""Addresses of every kind, secrets from the environment, and names."""

import os
import subprocess
import sys

import pytest

from pipeline.feed.server import connect, key, scan
from tests.support.runs import ROOT, environment
from tests.support.servers import RedisServer, TlsGate, serving

pytestmark = pytest.mark.redis


def answers() -> bool:
    with connect() as client:
        return client.ping()


def test_a_unix_socket(redis_server, settings):
    settings("redis", url=f"unix://{redis_server.folder}/s.sock?db=2")
    assert answers()


def test_tls_with_a_certificate_that_is_known(redis_server, settings):
    with serving(TlsGate(redis_server.port)) as gate:
        settings("redis", url=f"rediss://127.0.0.1:{gate.port}/0?ssl_ca_certs={gate.certificate}")
        assert answers()


def test_tls_with_a_certificate_that_is_not(redis_server, settings):
    from pipeline.errors import RedisUnreachableError

    with serving(TlsGate(redis_server.port)) as gate:
        settings("redis", url=f"rediss://127.0.0.1:{gate.port}/0", retries=0)
        with pytest.raises(RedisUnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
            answers()


@pytest.mark.parametrize("password", ["plain", "per%25cent", "a%40b%3A%2F%23", "$dollar{x}"])
def test_a_password_from_the_environment(tmp_path, password):
    """As the cron line gives it: REDIS_URL, taken up by config/luigi.cfg."""
    from urllib.parse import unquote

    server = RedisServer(tmp_path / "server", requirepass=f'"{unquote(password)}"')
    code = "import pipeline; from pipeline.feed.server import connect\nwith connect() as client: print(client.ping())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
        env=environment(tmp_path, REDIS_URL=server.url.replace("//", f"//:{password}@")),
    )  # fmt: skip
    server.kill()
    assert done.stdout.strip() == "True", done.stderr
    assert "arning" not in done.stderr


def test_without_a_setting_there_is_none():
    code = "import pipeline; from pipeline.config import redis; print(redis().url)"
    kept = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env=kept, check=True)
    assert done.stdout.strip() == ""


def test_scan_finds_each_of_our_keys_once_among_many(redis, settings):
    settings("redis", prefix="x:")
    redis.mset({f"foreign:{number}": "" for number in range(5000)} | {f"x:a:{number}": "" for number in range(2500)})
    with connect() as client:
        found = list(scan(client, "a", ""))
    assert sorted(found) == sorted(key("a", str(number)) for number in range(2500))
