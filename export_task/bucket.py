"""Files in a bucket of S3: uploaded in parts, and there only once the last part is completed."""

import contextlib
import tempfile
from collections.abc import Mapping
from typing import Any

from export_task.places import Hashed, PlaceError

_PART_BYTES = 8 << 20
"""S3 takes parts of 5 MiB and more, 10,000 of them: files of 80 GB."""


class BucketPlace:
    """The files of one export in a bucket, below a prefix. The task may put files, and neither list nor read them."""

    def __init__(self, target: Mapping[str, Any], *, endpoint: str, region: str) -> None:
        import boto3

        self._client = boto3.client("s3", endpoint_url=endpoint or None, region_name=region)
        self._bucket = str(target["bucket"])
        self._prefix = str(target["prefix"])

    def begin(self, folder: str, number: int) -> "BucketSink":
        return BucketSink(self._client, self._bucket, self._prefix + (f"{folder}/" if folder else ""))

    def names(self, folder: str) -> list[str]:
        return []

    def size(self, path: str) -> int | None:
        with contextlib.suppress(Exception):  # it is missing, or nobody may look: then it is written anew
            return int(self._client.head_object(Bucket=self._bucket, Key=self._prefix + path)["ContentLength"])
        return None

    def remove(self, path: str) -> None:
        self._client.delete_object(Bucket=self._bucket, Key=self._prefix + path)

    def remove_all(self, paths: list[str]) -> None:
        for path in paths:
            self.remove(path)


class BucketSink(Hashed):
    """A file that is to be uploaded. A key of S3 is whole or is not there, but its name is known only at the end: until then
    the file lies on the disk, without a name there."""

    def __init__(self, client: Any, bucket: str, folder: str) -> None:
        super().__init__()
        self._client = client
        self._bucket = bucket
        self._folder = folder
        self._held = tempfile.TemporaryFile()  # noqa: SIM115  closed by keep and drop

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self._held.write(view)
        self._count(view)
        return view.nbytes

    def keep(self, name: str) -> None:
        key, about = self._folder + name, {"sha256": self.sha256}
        self._held.seek(0)
        try:
            if self.size < _PART_BYTES:
                self._client.put_object(Bucket=self._bucket, Key=key, Body=self._held.read(), Metadata=about)
            else:
                self._in_parts(key, about)
        except Exception as wrong:
            raise PlaceError(code="target-unusable", detail=f"S3 did not take {key}: {type(wrong).__name__}") from wrong
        self.drop()

    def _in_parts(self, key: str, about: Mapping[str, str]) -> None:
        upload = self._client.create_multipart_upload(Bucket=self._bucket, Key=key, Metadata=dict(about))["UploadId"]
        where = {"Bucket": self._bucket, "Key": key, "UploadId": upload}
        try:
            tags: list[dict[str, Any]] = []
            while part := self._held.read(_PART_BYTES):
                n = len(tags) + 1
                tags.append(
                    {"PartNumber": n, "ETag": self._client.upload_part(**where, PartNumber=n, Body=part)["ETag"]}
                )
            self._client.complete_multipart_upload(**where, MultipartUpload={"Parts": tags})
        except BaseException:
            with contextlib.suppress(Exception):
                self._client.abort_multipart_upload(**where)
            raise

    def drop(self) -> None:
        if not self.closed:
            self.closed = True
            self._held.close()
