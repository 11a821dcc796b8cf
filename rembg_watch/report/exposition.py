"""
Figures as Prometheus reads them: families of series in, the text of the exposition format out.

The one door to prometheus_client, which is loaded when something is written for the first time: it comes with the
extra ``metrics``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import accumulate
from typing import TYPE_CHECKING, Literal

from rembg_watch.report.tallies import Histogram, Labels

if TYPE_CHECKING:
    from prometheus_client import Metric

PREFIX = "rembg_watch_"
MISSING = "prometheus_client is not installed: pip install 'rembg-watch[metrics]'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Series of one name, one for each tuple of the values of *labels*; a counter is named without ``_total``."""

    name: str
    help: str
    kind: Literal["gauge", "counter"]
    labels: tuple[str, ...] = ()
    values: Mapping[Labels, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations:
    """A histogram of seconds."""

    name: str
    help: str
    histogram: Histogram


def is_available() -> bool:
    """Say whether what writes the format is installed."""
    return find_spec("prometheus_client") is not None


def render(families: Iterable[Family | Durations]) -> bytes:
    """
    Write the text format, version 0.0.4.

    Raises:
        ImportError: prometheus_client is not installed.
    """
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.registry import Collector

    metrics = [_metric(family) for family in families]

    class _Metrics(Collector):
        def collect(self) -> "Iterable[Metric]":
            return metrics

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Metrics())
    return generate_latest(registry)


def _metric(family: Family | Durations) -> "Metric":
    from prometheus_client import core

    name = PREFIX + family.name
    if isinstance(family, Durations):
        histogram = family.histogram
        bounds = [*(f"{bound:g}" for bound in histogram.bounds_s), "+Inf"]
        buckets = list(zip(bounds, accumulate(histogram.counts), strict=True))
        return core.HistogramMetricFamily(name, family.help, buckets=buckets, sum_value=histogram.sum_s)
    of = core.CounterMetricFamily if family.kind == "counter" else core.GaugeMetricFamily
    metric = of(name, family.help, labels=family.labels)
    for labels, value in family.values.items():
        metric.add_metric(labels, value)
    return metric
