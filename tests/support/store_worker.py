"""A process that works on one local store until it is killed: saves, exports, imports, deletes, reads.

    python store_worker.py ROOT EXPORTS SEED

Prints one line before and one after each operation: `try delete NAME:VERSION`, `did save NAME:VERSION`.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from vtsserving._archive import export_model, import_model
from vtsserving._local_store.store import LocalStore
from vtsserving._model.draft import Draft
from vtsserving._model.info import ModelContext
from vtsserving._model.tag import Tag
from vtsserving.exceptions import Conflict, NotFound

NAMES = ("alpha", "beta", "gamma")
FILES = 6
FILE_BYTES = 60_000


def say(text: object) -> None:
    print(text, flush=True)


class Worker:
    def __init__(self, root: Path, exports: Path, seed: int) -> None:
        self.store = LocalStore(root)
        self.exports = exports
        self.random = random.Random(seed)

    def step(self) -> None:
        name = self.random.choice(NAMES)
        action = self.random.choices(
            (self.save, self.export, self.take_in, self.delete, self.alias), weights=(5, 3, 3, 6, 1)
        )[0]
        try:
            action(name)
        except (NotFound, Conflict):
            say("nothing")  # another process was faster, or an alias holds the version

    def save(self, name: str) -> None:
        say("try save")
        with self.store.staging() as staged:
            for at in range(FILES):
                (staged / f"part{at}.bin").write_bytes(self.random.randbytes(FILE_BYTES))
            saved = self.store.save(staged, Draft(Tag(name), "", ModelContext()))
        say(f"did save {saved.tag}")

    def export(self, name: str) -> None:
        model = self.random.choice(self.store.list(name) or [self.store.get(name)])
        say(f"try export {model.tag}")
        export_model(model.tag, f"{self.exports}/", force=True, store=self.store)
        say(f"did export {model.tag}")

    def take_in(self, name: str) -> None:
        archives = sorted(self.exports.glob(f"{name}-*.vtsmodel"))
        if not archives:
            raise NotFound("nothing exported yet")
        say("try import")
        model = import_model(self.random.choice(archives), store=self.store)
        say(f"did import {model.tag}")

    def delete(self, name: str) -> None:
        model = self.random.choice(self.store.list(name) or [self.store.get(name)])
        say(f"try delete {model.tag}")
        self.store.delete(model.tag, force=True)
        say(f"did delete {model.tag}")

    def alias(self, name: str) -> None:
        say("try alias")
        self.store.set_alias(name, "production")
        say("did alias")


def main() -> None:
    root, exports, seed = sys.argv[1:]
    worker = Worker(Path(root), Path(exports), int(seed))
    while True:
        worker.step()


if __name__ == "__main__":
    main()
