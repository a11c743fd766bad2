"""What Prometheus is told of the adapters that serve."""

from tacit.server.metrics import Metrics


def told(metrics: Metrics) -> list[str]:
    return [line for line in metrics.text().decode().splitlines() if line.startswith("tacit_adapter_in_use{")]


def test_what_no_longer_serves_is_not_told_any_more() -> None:
    metrics = Metrics()
    metrics.serving({("p", "completion"): "p-c@000001", ("p", "debug"): "p-d@000001"})
    assert len(told(metrics)) == 2
    metrics.serving({("p", "completion"): "p-c@000002"})
    assert told(metrics) == ['tacit_adapter_in_use{adapter="p-c@000002",project="p",task="completion"} 1.0']
