"""Carries the parts of blobs, and ends blobs: complete, keep for later, or leave nothing.

A file of one part is sent in one PUT after its digest was proven. A larger one is a
multipart upload that is completed only if the digest is right, and aborted otherwise: a
blob key never shows bytes that do not hash to its name (I2). A file whose digest is not
known beforehand goes to `staging/` and is copied inside the store. What was interrupted
stays, with a journal, for whoever comes next.
"""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass
from functools import partial

from sync_daemon import meter
from sync_daemon.domain import keys
from sync_daemon.domain.digests import Digest
from sync_daemon.domain.errors import (
    Deferred,
    Interrupted,
    PreconditionFailed,
    StoreFull,
    SyncError,
    UploadGone,
)
from sync_daemon.domain.events import BlobResumed, BytesMoved, JournalLost
from sync_daemon.engine.blob import Blob, Piece, Receipt
from sync_daemon.engine.fill import Filler, Waiting
from sync_daemon.engine.journal import Journals
from sync_daemon.engine.ordered import Streamed
from sync_daemon.engine.retry import Retry, origin_can_heal
from sync_daemon.ports import Clock, Emit, ObjectStore, Part

HEARTBEAT = 20.0
"""Seconds after which a journal is written again without news: its owner is alive."""

STOP_GRACE = 10.0
"""Seconds after a stop in which a part that is under way may still end and be kept."""


@dataclass(slots=True)
class Mover:
    """What the transfer's workers do with a blob; it keeps no state of its own but the stop."""

    store: ObjectStore
    filler: Filler
    journals: Journals
    retry: Retry
    clock: Clock
    emit: Emit
    stop: threading.Event
    largest_part: int
    _stopped: float | None = None

    # -- parts -------------------------------------------------------------------------

    def carry(self, blob: Blob, piece: Piece) -> None:
        """Fetch and hash one piece, and store its part if it was the last one missing.

        Of a serial blob: all parts.
        """
        if blob.serial:
            what = f"fetch {blob.fetch}"
            self.retry(what, lambda: self._carry_serially(blob), heals=origin_can_heal)
            return
        view = blob.view(piece)
        hashing = Streamed(blob.hash, piece.start, view)
        self.filler.fill(
            blob.fetch,
            piece.start,
            view,
            alive=lambda: self._alive(blob, piece),
            filled=hashing.advance,
        )
        hashing.finish()
        if blob.arrived(piece) and blob.parts > 1:
            start, stop = blob.span(piece.part)
            whole = memoryview(blob.buffers[piece.part])[: stop - start]
            self._store_part(blob, piece.part, whole)
            blob.unpin_stored(piece.part)

    def _carry_serially(self, blob: Blob) -> None:
        """All parts from one answer, through one buffer; a break begins the file again."""
        buffer = blob.buffers[0]
        self.abort(blob)
        blob.reset()
        blob.cursor = blob.size
        blob.buffers[0] = buffer
        waiting = Waiting()
        with self.filler.open(blob.fetch, 0, blob.size) as reader:
            for number in range(blob.parts):
                start, stop = blob.span(number)
                view = memoryview(buffer)[: stop - start]
                alive = partial(self._alive, blob)
                for _ in self.filler.pump(blob.fetch, reader, view, alive, waiting):
                    pass
                blob.hash.update(view)
                self._store_part(blob, number, view)

    def _alive(self, blob: Blob, piece: Piece | None = None) -> bool:
        """Tell whether bytes are still worth fetching; after a stop, for a while, if they are
        kept: then the rest of their part is on its way as well."""
        kept = blob.resumable and piece is not None and blob.cursor >= blob.span(piece.part)[1]
        if not self.stop.is_set():
            return blob.failure is None or (isinstance(blob.failure, Deferred) and kept)
        if self._stopped is None:
            self._stopped = self.clock.monotonic()
        blob.fail(Interrupted(f"{blob.fetch}: stopped; the next run takes it up again"))
        late = self.clock.monotonic() - self._stopped > STOP_GRACE
        return isinstance(blob.failure, Interrupted) and kept and not late

    def _store_part(self, blob: Blob, number: int, view: memoryview) -> None:
        upload = self._ensure_upload(blob)

        def put() -> Part:
            start = blob.span(number)[0]
            return self.store.put_part(blob.key, upload, number + 1, start, view)

        blob.stored[number] = self.retry(f"store part {number + 1} of {blob.fetch}", put)
        meter.active().add(uploaded=len(view))

    def _ensure_upload(self, blob: Blob) -> str:
        with blob.upload_lock:
            if blob.upload is None:
                blob.upload = self._begin_upload(blob)
                self.save(blob)
            return blob.upload

    def _begin_upload(self, blob: Blob) -> str:
        if blob.failure is not None and not isinstance(blob.failure, Interrupted):
            raise blob.failure  # another part has just tried for as long as is allowed
        digest = blob.fetch.file.sha256
        blob.key = keys.blob(digest) if digest else keys.staging(uuid.uuid4().hex)
        begin = f"begin the upload of {blob.fetch}"
        try:
            return self.retry(begin, lambda: self.store.create_upload(blob.key))
        except SyncError as error:
            blob.fail(error)
            raise

    # -- journals ----------------------------------------------------------------------

    def resume(self, blob: Blob) -> None:
        """Go on where an earlier run left this blob, if it did and it can be told."""
        if not blob.resumable:
            return
        try:
            adopted = self.journals.adopt(blob.fetch.journal)
            large = adopted is not None and adopted.checkpoint.part_size > self.largest_part
            if adopted is not None and (large or not blob.resume(adopted)):
                self.journals.discard(adopted)
                adopted = None
        except SyncError as error:
            self._lost(blob, error)
            return
        if adopted is None:
            return
        self.save(blob)
        self.journals.settle(blob.fetch.journal, adopted)
        done = sum(part.size for part in adopted.parts)
        fetch = blob.fetch
        self.emit(BytesMoved(model=fetch.model, version=fetch.version, bytes=done))
        self.emit(BlobResumed(model=fetch.model, path=fetch.file.path, bytes=done, size=blob.size))

    def save(self, blob: Blob) -> None:
        """Write how far a blob is, if that is news. A journal that cannot be written only
        costs the work after a kill: it is no reason to fail."""
        with blob.save_lock:
            now = self.clock.monotonic()
            again = now - blob.saved > HEARTBEAT
            try:
                if (checkpoint := blob.checkpoint(again=again)) is not None:
                    self.journals.write(blob.fetch.journal, checkpoint)
                    blob.saved = now
            except SyncError as error:
                blob.saved_parts = -1  # still news
                self._lost(blob, error)

    def _forget(self, blob: Blob) -> None:
        with blob.save_lock:
            blob.upload = None
            if not blob.resumable:
                return
            try:
                self.journals.drop(blob.fetch.journal)
            except SyncError as error:
                self._lost(blob, error)

    def _lost(self, blob: Blob, error: SyncError) -> None:
        self.emit(JournalLost(model=blob.fetch.model, path=blob.fetch.file.path, error=str(error)))

    # -- the end of a blob ---------------------------------------------------------------

    def finish(self, blob: Blob) -> Receipt:
        """Prove the digest and make the blob. Raises what stopped it, or DigestMismatch."""
        if isinstance(blob.failure, UploadGone) and (there := self._find(blob)) is not None:
            return there
        if blob.failure is not None and not (isinstance(blob.failure, Interrupted) and blob.whole):
            raise blob.failure
        digest = blob.hash.verify()
        if blob.parts == 1:
            uploaded = self._put_whole(digest, memoryview(blob.buffers[0])[: blob.size], blob)
            return Receipt(digest, blob.size, uploaded)
        upload = self._ensure_upload(blob)
        parts = [blob.stored[number] for number in range(blob.parts)]
        self.retry(
            f"complete the upload of {blob.fetch}",
            lambda: self.store.complete_upload(blob.key, upload, parts),
        )
        uploaded = True
        if blob.fetch.file.sha256 is None:
            try:
                uploaded = self._unstage(blob, digest)
            except SyncError:
                self._drop_staged(blob)
                raise
        self._forget(blob)
        return Receipt(digest, blob.size, uploaded)

    def _find(self, blob: Blob) -> Receipt | None:
        """Look whether somebody else completed the blob whose upload is gone."""
        digest = blob.fetch.file.sha256
        if digest is None:
            return None
        held = self.retry(f"look for {blob.fetch}", lambda: self.store.stat(keys.blob(digest)))
        if held is None or held.size != blob.size:
            return None
        self._forget(blob)
        return Receipt(digest, blob.size, uploaded=False)

    def _put_whole(self, digest: Digest, view: memoryview, blob: Blob) -> bool:
        key, what = keys.blob(digest), f"store {blob.fetch}"
        try:
            self.retry(what, lambda: self.store.put(key, view, if_absent=True))
        except PreconditionFailed:
            held = self.retry(f"look for {blob.fetch}", lambda: self.store.stat(key))
            if held is not None and held.size == blob.size:
                return False
            self.retry(what, lambda: self.store.put(key, view))  # what lay there was damaged
        meter.active().add(uploaded=len(view))
        return True

    def _unstage(self, blob: Blob, digest: Digest) -> bool:
        """Give staged bytes their name. The copy is whole or not there (ports.ObjectStore)."""
        target = keys.blob(digest)
        held = self.retry(f"look for {blob.fetch}", lambda: self.store.stat(target))
        missing = held is None or held.size != blob.size
        if missing:
            self.retry(f"name {blob.fetch}", lambda: self.store.copy(blob.key, target))
        self.retry(f"unstage {blob.fetch}", lambda: self.store.delete(blob.key))
        return missing

    def _drop_staged(self, blob: Blob) -> None:
        """Remove what was staged and got no name: no journal can take a whole object up."""
        try:
            self.store.delete(blob.key)
        except SyncError as error:
            self._lost(blob, error)
        self._forget(blob)

    def keep(self, blob: Blob, error: BaseException) -> None:
        """Leave what is stored to a later run; what no run could take up again is removed.

        So is what did not fit into the store: kept, it would fill it for everything else.
        """
        if blob.resumable and blob.upload is not None and not isinstance(error, StoreFull):
            self.save(blob)
        else:
            self.abort(blob)

    def abort(self, blob: Blob) -> None:
        """Leave nothing behind. What cannot be removed now is for a later clean-up."""
        if (upload := blob.upload) is None:
            return
        try:
            self.retry(
                f"abort the upload of {blob.fetch}",
                lambda: self.store.abort_upload(blob.key, upload),
            )
        except SyncError as error:
            self._lost(blob, error)  # its journal, if it has one, stays for a later run
            return
        self._forget(blob)
