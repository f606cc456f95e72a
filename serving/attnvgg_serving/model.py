"""What a request holds while it is answered."""

from dataclasses import dataclass
from functools import cached_property

from attnvgg_bundle.manifest import Manifest
from attnvgg_serving.batcher import Batcher
from attnvgg_serving.engines import Engine
from attnvgg_serving.stages import Label


@dataclass(frozen=True, eq=False)
class Model:
    """A bundle that is loaded, warm and ready.

    Whoever holds it can use it: its engine is closed after the last one has let go of it.
    """

    manifest: Manifest
    engine: Engine
    batcher: Batcher

    @cached_property
    def label(self) -> Label:
        return Label(self.manifest.name, self.manifest.version, self.engine.provider)
