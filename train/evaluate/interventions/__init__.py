"""Changes of a trained model that last as long as an evaluation."""

from .options import (
    OPTIONS,
    Intervention,
    Interventions,
    add_intervention_arguments,
    intervention_from,
    parse_interventions,
    slug,
)

__all__ = [
    "OPTIONS",
    "Intervention",
    "Interventions",
    "add_intervention_arguments",
    "intervention_from",
    "parse_interventions",
    "slug",
]
