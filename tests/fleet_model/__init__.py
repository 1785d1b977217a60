"""An explicit-state model of the fleet's protocol: every interleaving within small bounds."""

from tests.fleet_model._model import Bounds, Broken, Findings, Model

__all__ = ["Bounds", "Broken", "Findings", "Model"]
