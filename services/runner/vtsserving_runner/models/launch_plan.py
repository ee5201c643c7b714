"""What to start for a model: its files, its options as they are now, a device for each process."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from vtsserving._local_store.injected_models import Provided
from vtsserving._local_store.model import Model
from vtsserving._model.options import ModelOptions
from vtsserving._model.settings import Configured, layered
from vtsserving._model.tag import Tag
from vtsserving._packing.package_tags import dependencies_of
from vtsserving.exceptions import VtsServingException
from vtsserving_runner.models.loaded_model import MAX_REPLICAS
from vtsserving_runner.models.source import ModelSource
from vtsserving_runner.process.devices import assign, visible_gpus
from vtsserving_runner.process.launch import Launch
from vtsserving_runner.publish.publisher import ModelId
from vtsserving_runner.settings import RunnerSettings

_log = logging.getLogger(__name__)


class LaunchPlanner:
    """Prepares models; its methods block and run in threads."""

    def __init__(self, source: ModelSource, settings: RunnerSettings) -> None:
        """Prepare models from `source`.

        Raises:
            ConfigurationError: the configuration has an impossible option of a model.
        """
        self._source = source
        self._settings = settings
        self._configured = Configured()
        self._needs: dict[str, frozenset[str]] = {}

    def launches(self, id: ModelId) -> list[Launch]:
        """Fetch a model's files and say how to start its processes.

        Raises:
            VtsServingException: its files cannot be had, or this runner has not what it wants.
        """
        path: Path = self._source.fetch(*id)
        tag = Tag(id.name, id.version)
        model = Model(tag, path)
        options = self._options(model)
        provided = tuple(self._needed(id.digest, model))
        listed = len(options.device) if isinstance(options.device, tuple) else 1
        replicas = min(max(options.replicas, listed), self._settings.max_replicas, MAX_REPLICAS)
        devices = assign(options.device, replicas, visible_gpus(os.environ))
        further = self._settings.model_environment
        # As many processes as processors, all awake, would keep the runner itself waiting.
        poll_us = self._settings.poll_us if replicas < (os.cpu_count() or 1) else 0
        return [Launch(tag, path, options.threads, further, device, poll_us, provided) for device in devices]

    def needs(self, digest: str) -> frozenset[str]:
        """Digests of the further models that a model's class uses, as far as it was prepared."""
        return self._needs.get(digest, frozenset())

    def forget(self, digest: str) -> None:
        """A model is gone."""
        self._needs.pop(digest, None)

    def _needed(self, digest: str, model: Model) -> Iterator[Provided]:
        needs = dependencies_of(model.manifest.extra)
        self._needs[digest] = frozenset(need.digest for need in needs)
        for need in needs:
            path = self._source.fetch(need.tag.name, str(need.tag.version), need.digest)
            yield Provided(need.tag, path, need.aliases)

    def _options(self, model: Model) -> ModelOptions:
        saved, tag = model.info.options, model.tag
        try:
            changed = self._source.settings(tag.name, str(tag.version))
            return layered(saved, changed, self._configured.of(tag.name))
        except VtsServingException as error:
            # The files are here: a model with the options that it was saved with is better than none.
            _log.warning("settings_not_applied", extra={"model": str(tag), "reason": error.message})
            return layered(saved, self._configured.of(tag.name))
