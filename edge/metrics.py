"""The numbers that an edge shows: to Prometheus, and as JSON for white-box checks of load tests."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_HOP_BUCKETS_S = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024)


class EdgeMetrics:
    """One set for each edge process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.connections = Gauge("roomring_edge_connections", "Open connections.", registry=r)
        self.rooms = Gauge("roomring_edge_rooms", "Rooms with listeners on this edge.", registry=r)
        self.uplink_pending = Gauge("roomring_edge_uplink_pending", "Commands that wait for Redis.", registry=r)
        self.opened = Counter("roomring_edge_connections_opened", "Connections accepted.", registry=r)
        self.refused = Counter("roomring_edge_connections_refused", "Upgrades refused.", ["reason"], registry=r)
        self.closed = Counter("roomring_edge_connections_closed", "Connections ended.", ["code"], registry=r)
        self.joins = Counter("roomring_edge_joins", "Joins that a worker accepted.", registry=r)
        self.auth_errors = Counter("roomring_edge_auth_errors", "Joins and tokens refused.", ["code"], registry=r)
        self.busy = Counter("roomring_edge_busy", "Commands refused since the cluster was busy.", registry=r)
        self.messages_in = Counter("roomring_edge_messages_in", "Messages from clients.", registry=r)
        self.messages_out = Counter("roomring_edge_messages_out", "Messages to clients.", registry=r)
        self.skipped = Counter("roomring_edge_movements_skipped", "Movements left out for slow readers.", registry=r)
        self.commands = Counter("roomring_edge_commands", "Commands appended to input streams.", registry=r)
        self.batches = Counter("roomring_edge_input_batches", "Entries appended to input streams.", registry=r)
        self.output_batches = Counter("roomring_edge_output_batches", "Entries read from workers.", registry=r)
        self.repairs = Counter("roomring_edge_room_repairs", "Holes in a room's order that were repaired.", registry=r)
        self.output_gaps = Counter("roomring_edge_output_gaps", "Times that entries of workers were lost.", registry=r)
        self.store_errors = Counter("roomring_edge_store_errors", "Calls that Redis did not answer.", registry=r)
        self.audit_failures = Counter(
            "roomring_edge_audit_failures", "Entries of the audit log that were not written.", registry=r
        )
        self.apply_seconds = Histogram(
            "roomring_edge_apply_seconds",
            "Time to apply and write what one read brought.",
            buckets=_HOP_BUCKETS_S,
            registry=r,
        )

    def as_json(self) -> dict[str, float]:
        """Return the current value of every number, labels in braces as Prometheus writes them."""
        values: dict[str, float] = {}
        for family in self.registry.collect():
            for sample in family.samples:
                if sample.name.endswith(("_created", "_bucket")):
                    continue
                labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
                values[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
        return values
