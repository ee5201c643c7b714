"""The whole stack on one machine: `vtsserving serve`, in one process or with several gateways."""
