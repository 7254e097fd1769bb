"""
Object stores: an upload is visible at its end, and a folder is only a prefix of keys.

`ObjectStore` serves those without a module of their own (OSS, OCI …): where fsspec has mode "create", one writer
creates a file on all machines; a replacement is checked and then written, which holds among this process's threads.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import fsspec.asyn

from airflow_provider_batch.exceptions import StorageError
from airflow_provider_batch.storage.stores.store import Meaning, NoContainerError, Put, Store


class ObjectStore(Store):
    """An object store whose conditional writes are not known."""

    has_folders = False
    #: Codes by which the store says that an object is absent and its container is not.
    absent_codes: ClassVar[frozenset[str]] = frozenset()
    #: Whether the client's "no such file" never stands for an absent container.
    is_sure_of_container: ClassVar[bool] = False

    def put_if(self, path: str, data: bytes, version: str | None, *, keeps_lock: bool = True) -> Put:
        """
        Write an object if it has not changed; see `Store.put_if`.

        :param path: Path within the file system.
        :param data: Content of the object.
        :param version: Version from `get`; None means that no object may exist.
        :param keeps_lock: Has no meaning here.
        """
        if version is not None:
            return super().put_if(path, data, version)
        if self._version(path) is not None:
            return Put.LOST
        try:
            self.fs.pipe_file(path, data, mode="create")
        except FileExistsError:
            return Put.LOST
        except (TypeError, ValueError, NotImplementedError):  # this file system has no mode "create"
            return super().put_if(path, data, version)
        return Put.DONE

    def upload(self, local: Path, path: str) -> None:
        """
        Copy a finished local file to the store by one upload.

        :param local: The local file.
        :param path: Path within the file system.
        """
        self.fs.put_file(str(local), path, **self.upload_options)

    def move(self, source: str, to: str) -> None:
        """
        Move an object by a copy that the store makes; its size is checked before the old object is deleted.

        :param source: Path of the object.
        :param to: New path; no object may exist there.
        :raises FileNotFoundError: The object does not exist.
        :raises StorageError: The copy has another size.
        """
        size = self.fs.info(source)["size"]
        self.copy(source, to)
        self.fs.invalidate_cache()
        copied = self.fs.info(to)["size"]
        if copied != size:
            raise StorageError(f"{to}: the store has copied {copied:,} of {size:,} bytes of {source}, which is kept.")
        self.fs.rm_file(source)

    def copy(self, source: str, to: str) -> None:
        """
        Copy an object within the store, and return once the copy is whole.

        :param source: Path of the object.
        :param to: Path of the copy.
        """
        self.fs.cp_file(source, to)

    def call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """
        Run a coroutine function of the store's client on the file system's event loop, and return its result.

        :param function: Coroutine function.
        :param args: Its positional arguments.
        :param kwargs: Its keyword arguments.
        """
        return fsspec.asyn.sync(self.fs.loop, function, *args, **kwargs)

    def answered(self, call: Callable[[], object]) -> Put:
        """
        Make a conditional call, and return what the store has answered to its condition.

        :param call: Makes the call.
        """
        try:
            call()
        except Exception as error:
            answer = self._answer(error)
            if answer is None:
                raise
            return answer
        return Put.DONE

    @classmethod
    def _answer(cls, error: BaseException) -> Put | None:
        meaning = cls.meaning(error)
        return None if meaning is None else _ANSWERS.get(meaning)

    @classmethod
    def meaning(cls, error: BaseException | None) -> Meaning | None:
        """
        Return what an error of this store's client means, None where that is not known.

        :param error: Any error; its causes are searched too.
        """
        for _ in range(5):
            if error is None:
                break
            code = cls.code(error)
            if code is not None:
                return cls.meanings.get(code)
            error = error.__cause__
        return None

    def check_absent(self, path: str, error: FileNotFoundError) -> None:
        """
        Raise where an error does not mean that an object is absent: its container does not exist.

        :param path: Path within the file system.
        :param error: What the client has raised.
        :raises NoContainerError: The container does not exist.
        """
        if self.meaning(error) is Meaning.NO_CONTAINER:
            raise NoContainerError(f"the {self.container} does not exist") from error
        if not self.is_sure_of_container and self.code(error.__cause__ or error) not in self.absent_codes:
            self.check_container(path)

    def _check_container_by(self, function: Any, *args: Any, **kwargs: Any) -> None:
        """Raise NoContainerError if a call that lists one object of the container says so."""
        try:
            self.call(function, *args, **kwargs)
        except Exception as error:
            if isinstance(error, FileNotFoundError) or self.meaning(error) is Meaning.NO_CONTAINER:
                raise NoContainerError(f"the {self.container} does not exist") from error


_ANSWERS = {
    Meaning.LOST: Put.LOST,
    Meaning.CONFLICT: Put.CONFLICT,
    Meaning.NO_CONDITIONS: Put.NO_CONDITIONS,
}
