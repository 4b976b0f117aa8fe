"""What luigid serves at `/metrics`. Apart, since it needs prometheus_client, which only the extra `luigid` brings."""

from __future__ import annotations

from luigi.contrib.prometheus_metric import PrometheusMetricsCollector

from pipeline.runs import metrics


class Collector(PrometheusMetricsCollector):
    """Luigi's figures, and after them those that the last run, or the doctor, has written."""

    def generate_latest(self) -> bytes:
        own: bytes = super().generate_latest()
        return own + metrics.path().read_bytes() if metrics.path().exists() else own
