"""What a plugin has of its host. `http`, `secret`, `config`, `kv`, `artifacts` and `model` are modules that are there where
`uses` of `plugin.toml` names them: `from heddle import http`."""

from heddle import log
from heddle.failure import Checkpoint, Failure, checkpoint

__all__ = ["Checkpoint", "Failure", "checkpoint", "log"]
