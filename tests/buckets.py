"""An S3 server in this process, which is moto's, with a bucket; and how processes reach it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

BUCKET = "data"
SECRET = "secret-of-the-tests"


@dataclass(frozen=True)
class Bucket:
    """A bucket called `data`.

    Attributes:
        client: boto3's.
        environment: variables by which it is reached.
        server: can be stopped and started again.
    """

    client: Any
    environment: dict[str, str]
    server: Any

    def names(self, prefix: str = "") -> list[str]:
        """Return the names of its objects."""
        found = self.client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        return [entry["Key"] for entry in found]

    def read(self, name: str) -> bytes:
        """Return an object's content."""
        content: bytes = self.client.get_object(Bucket=BUCKET, Key=name)["Body"].read()
        return content

    def write(self, name: str, content: bytes) -> None:
        """Put an object."""
        self.client.put_object(Bucket=BUCKET, Key=name, Body=content)


@contextlib.contextmanager
def serving() -> Iterator[Bucket]:
    """Start a server with an empty bucket, and stop it at the end."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="key-of-the-tests",
            aws_secret_access_key=SECRET,
        )
        with contextlib.closing(client):
            client.create_bucket(Bucket=BUCKET)
            found = Bucket(
                client,
                {
                    "AWS_ACCESS_KEY_ID": "key-of-the-tests",
                    "AWS_SECRET_ACCESS_KEY": SECRET,
                    "AWS_DEFAULT_REGION": "us-east-1",
                    "AWS_ENDPOINT_URL": endpoint,
                    "AWS_CONFIG_FILE": "/nonexistent",
                    "AWS_EC2_METADATA_DISABLED": "true",
                },
                server,
            )
            # All servers of a process have the same buckets, and what an earlier one was given.
            for name in found.names():
                client.delete_object(Bucket=BUCKET, Key=name)
            yield found
    finally:
        server.stop()
