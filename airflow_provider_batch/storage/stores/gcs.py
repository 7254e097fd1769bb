"""
Google Cloud Storage through gcsfs: versions are generations, the condition is ``ifGenerationMatch``.

Source: https://docs.cloud.google.com/storage/docs/request-preconditions and the reference of the JSON API.
"""

from __future__ import annotations

import json
import secrets

from airflow_provider_batch.storage.stores.object_store import ObjectStore
from airflow_provider_batch.storage.stores.store import Meaning, Put, Stored

_GENERATION = "x-goog-generation"


class GoogleCloudStorage(ObjectStore):
    """Google Cloud Storage."""

    has_conditions = True
    meanings = {  # noqa: RUF012
        "412": Meaning.LOST,
        "409": Meaning.CONFLICT,
        "401": Meaning.EXPIRED,
        "RefreshError": Meaning.EXPIRED,
        "403": Meaning.DENIED,
    }
    #: A multiple of 256 KiB, as the API wants it.
    upload_options = {"chunksize": 8 << 20}  # noqa: RUF012

    @staticmethod
    def code(error: BaseException) -> str | None:
        """
        Return the HTTP status of a response, or the name of an error of Google's credentials.

        :param error: Error of gcsfs; it makes a plain OSError of status 403, and FileExistsError of status 412.
        """
        if type(error) is OSError and error.errno is None and str(error).startswith("Forbidden"):
            return "403"
        if isinstance(error, FileExistsError) and error.errno is None:
            return "412"
        module = type(error).__module__.partition(".")[0]
        if module == "gcsfs":
            status = str(getattr(error, "code", None))
            # Without any credentials the status is the same as with those that have expired.
            return "403" if status == "401" and "Anonymous caller" in str(error) else status
        return type(error).__name__ if type(error).__module__ == "google.auth.exceptions" else None

    def get(self, path: str) -> Stored:
        """
        Return an object's bytes and its generation, from one request so that they belong together.

        :param path: Bucket and name.
        :raises FileNotFoundError: The object or the bucket does not exist.
        """
        headers, data = self.call(self.fs._call, "GET", self.fs.url(path))
        if _GENERATION in headers:
            return Stored(bytes(data), str(headers[_GENERATION]))
        generation = str(self.call(self.fs._call, "GET", *self._object(path), json_out=True)["generation"])
        _, data = self.call(self.fs._call, "GET", self.fs.url(path, generation=generation))
        return Stored(bytes(data), generation)

    def put_if(self, path: str, data: bytes, version: str | None, *, keeps_lock: bool = True) -> Put:
        """
        Write an object if its generation is still the same; see `Store.put_if`.

        :param path: Bucket and name.
        :param data: Content of the object.
        :param version: Generation; None means that no object may exist.
        :param keeps_lock: Has no meaning here.
        """
        bucket, name, _ = self.fs.split_path(path)
        upload = f"{self.fs.base.removesuffix('storage/v1/')}upload/storage/v1/b/{{}}/o"
        given = {"uploadType": "multipart", "ifGenerationMatch": version or "0"}
        boundary, body = _multipart(name, data)
        headers = {"Content-Type": f'multipart/related; boundary="{boundary}"'}
        return self.answered(
            lambda: self.call(self.fs._call, "POST", upload, bucket, headers=headers, data=body, **given)
        )

    def delete_if(self, path: str, version: str) -> Put:
        """
        Delete an object if its generation is still the same; an absent object is fine.

        :param path: Bucket and name.
        :param version: Generation.
        """
        try:
            given = {"ifGenerationMatch": version}
            return self.answered(lambda: self.call(self.fs._call, "DELETE", *self._object(path), **given))
        except FileNotFoundError:
            return Put.DONE

    def check_container(self, path: str) -> None:
        """
        Raise where the bucket does not exist; gcsfs reports only "no such file".

        :param path: Bucket and name.
        :raises NoContainerError: It does not exist.
        """
        bucket, *_ = self.fs.split_path(path)
        self._check_container_by(self.fs._call, "GET", "b/{}/o", bucket, maxResults=1)

    def _object(self, path: str) -> tuple[str, str, str]:
        bucket, name, _ = self.fs.split_path(path)
        return "b/{}/o/{}", bucket, name


def _multipart(name: str, data: bytes) -> tuple[str, bytes]:
    """Return the boundary and the body of an upload of metadata and content in one request."""
    boundary = secrets.token_hex(16)
    head = f"--{boundary}\r\nContent-Type: application/json\r\n\r\n{json.dumps({'name': name})}\r\n"
    content = f"--{boundary}\r\nContent-Type: application/octet-stream\r\n\r\n"
    return boundary, b"".join((head.encode(), content.encode(), data, f"\r\n--{boundary}--\r\n".encode()))
