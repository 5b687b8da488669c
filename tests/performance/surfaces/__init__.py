"""Every surface that searches are tried on, by its name."""

from tests.performance.surfaces.analytic import ANALYTIC
from tests.performance.surfaces.recorded import recorded
from tests.performance.surfaces.surface import Surface

SURFACES: dict[str, Surface] = {surface.name: surface for surface in [*recorded(), *ANALYTIC]}
