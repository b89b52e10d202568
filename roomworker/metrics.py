"""The numbers that a worker shows to Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_LATENCY_BUCKETS_S = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048)


class WorkerMetrics:
    """One set for each worker process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.commands = Counter("roomring_worker_commands", "Commands taken from input streams.", registry=r)
        self.batches = Counter("roomring_worker_batches", "Batches committed.", registry=r)
        self.repeated_batches = Counter(
            "roomring_worker_repeated_batches", "Input batches that had been taken before.", registry=r
        )
        self.bad_entries = Counter("roomring_worker_bad_entries", "Input entries that could not be read.", registry=r)
        self.sequenced = Counter("roomring_worker_events_sequenced", "Reliable events given a place.", registry=r)
        self.deliveries = Counter(
            "roomring_worker_deliveries", "Messages times the connections that they went to.", registry=r
        )
        self.rate_limited = Counter(
            "roomring_worker_rate_limit_notices", "Members told that they are too fast.", ["message"], registry=r
        )
        self.refused_commits = Counter(
            "roomring_worker_refused_commits", "Commits refused for a shard.", ["reason"], registry=r
        )
        self.kept = Counter("roomring_worker_messages_kept", "Messages stored in the database.", registry=r)
        self.store_waits = Counter(
            "roomring_worker_database_waits", "Times that the database did not take messages.", registry=r
        )
        self.store_misses = Counter(
            "roomring_worker_database_misses",
            "Times that rooms went on without what the database has of them.",
            registry=r,
        )
        self.failures = Counter(
            "roomring_worker_failures",
            "Tasks at which a room failed each time it tried, and rooms that could not be read.",
            registry=r,
        )
        self.dead_letters = Counter(
            "roomring_worker_dead_letters", "Things set aside, since a room or the database fails at them.", registry=r
        )
        self.dead_letters_lying = Gauge(
            "roomring_worker_dead_letters_lying", "Dead letters that lie in the shards owned.", registry=r
        )
        self.relay_waiting = Gauge(
            "roomring_worker_relay_waiting", "Batches of letters that wait for other partitions.", registry=r
        )
        self.store_errors = Counter("roomring_worker_store_errors", "Calls that Redis did not answer.", registry=r)
        self.shards = Gauge("roomring_worker_shards", "Shards owned.", registry=r)
        self.rooms = Gauge("roomring_worker_rooms", "Rooms in memory.", registry=r)
        self.unreadable_rooms = Gauge(
            "roomring_worker_unreadable_rooms",
            "Rooms refused, since what is stored cannot be read.",
            registry=r,
        )
        self.unreadable_events = Counter(
            "roomring_worker_unreadable_events", "Past events that could not be read.", registry=r
        )
        self.members = Gauge("roomring_worker_members", "Members of the rooms in memory.", registry=r)
        self.take_seconds = Histogram(
            "roomring_worker_take_seconds",
            "Time from acquiring a shard until its first turn is done.",
            buckets=_LATENCY_BUCKETS_S,
            registry=r,
        )
        self.batch_seconds = Histogram(
            "roomring_worker_batch_seconds",
            "Time from the read of a batch to its commit.",
            buckets=_LATENCY_BUCKETS_S,
            registry=r,
        )
