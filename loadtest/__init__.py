"""An honest load generator for a running cluster: `roomring bench`."""
