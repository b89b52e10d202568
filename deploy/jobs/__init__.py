"""Jobs: retention, archives and erasures, worked off by a process of their own. See docs/decisions/0015-jobs.md."""
