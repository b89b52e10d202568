"""An honest load generator for running servers, and the harness around it: `roomring loadtest`."""
